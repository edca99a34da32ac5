"""What must be true for any schema: it is used, or its own records are undecodable. Nothing else is ever raised."""

from __future__ import annotations

import json
import random
import time
from typing import Any

from tests.fuzz import mutate
from tests.fuzz.oracle import judge_detail, judge_event
from tests.support.avro import framed, record
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping

_MAPPINGS = (
    Mapping("", "", "id", "", attributes="*", occurred_at="a", event_id="b"),
    Mapping("a", "b", "id", "name=c", attributes="a.*|b", occurred_at="type", event_id="id", exclude=("b*",)),
    Mapping("items.a", "", "id", "values", attributes="fields.*", ignore_when_null="a", ignore_when=("type=A", "b=1")),
)
_RECORDS = 4
SECONDS_MAX = 2.0  # CPU time, of everything about one schema


def check_valid(schema: dict[str, Any], rng: random.Random) -> None:
    """Checks that a valid schema is used: its records decode, with all fields, also if it is the reader's too.

    Raises:
        AssertionError: A promise is broken.
    """
    avro = AvroType(schema)
    reader = Reader(avro)
    plain, resolving = _decoder(schema, None), _decoder(schema, _without_defaults(schema))
    for _ in range(_RECORDS):
        pieces, other = mutate.valid(avro, rng), mutate.valid(avro, rng)
        data = b"".join(pieces)
        value = reader.read(data, 0)
        assert list(value) == [field["name"] for field in schema["fields"]]
        event = plain.decode(record(framed(7, data)))
        assert event is not None
        assert repr(resolving.decode(record(framed(7, data)))) == repr(event)
        judge_event(event, data)
        check_any(schema, mutate.spoilt(pieces, other, rng), rng)


def check_any(schema: object, data: bytes, rng: random.Random) -> None:
    """Checks that any schema, with any bytes, gives an event or says why there is none.

    Raises:
        AssertionError: A promise is broken.
    """
    started = time.thread_time()
    decoder = Decoder(rng.choice(_MAPPINGS))
    decoder.add(7, schema)
    try:
        event = decoder.decode(record(framed(7, data)))
    except Undecodable as problem:
        judge_detail(str(problem), names=True)
    else:
        if event is not None:
            judge_event(event, data)
    try:
        Decoder(Mapping(), reader_schema=schema)
    except ValueError as problem:
        judge_detail(str(problem), names=True)
    assert time.thread_time() - started < SECONDS_MAX


def _without_defaults(schema: dict[str, Any]) -> object:
    """As a reader's schema it must have no odd defaults."""
    return json.loads(json.dumps(schema), object_hook=lambda found: {k: found[k] for k in found if k != "default"})


def _decoder(schema: object, reader_schema: object | None) -> Decoder:
    decoder = Decoder(_MAPPINGS[0], reader_schema=reader_schema)
    decoder.add(7, schema)
    return decoder
