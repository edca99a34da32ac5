"""Records that Apache's Avro for Python writes have the values here that it reads itself."""

from __future__ import annotations

import json
import math
import os
import random
import re
import secrets
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import avro.schema
import pytest
from avro.errors import AvroException
from avro.io import BinaryDecoder, BinaryEncoder, DatumReader, DatumWriter

from tests.avro.random_schemas import Maker
from tests.support.avro import body, fields, framed, record
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping

pytestmark = pytest.mark.slow

SCHEMAS = 500
RECORDS = 3
SEED = int(os.environ.get("AVRO_SEED") or secrets.randbits(32))
VALUES = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="values", occurred_at="")
NAMES = [f"T{number}" for number in range(60)]
"""So many that seldom two types have the same. See `HOMONYMS`."""
HOMONYMS = 1983094738
"""The seed of a schema with two types of one name, in two namespaces. By Avro's specification, and in Java, a name
without a namespace is of the namespace around it. Inside of an array it takes the one that has none."""
SYMBOLS = ("A", "record", "null")
_DEEP = 6
_DAY_MICROS = 86_400_000_000


def check_schema(seed: int) -> bool:
    """Checks one schema and records of it. False if the other one does not take it."""
    rng = random.Random(seed)
    schema = Maker(rng, NAMES, SYMBOLS).row()
    text = json.dumps(schema)
    if ": true" in text:
        return False  # it takes that for 1
    types = re.findall(r'"name": "(T\d+)"', text)
    if len(set(types)) < len(types):
        return False
    try:
        theirs = avro.schema.parse(text, validate_names=False)
        records = [written(theirs, rng) for _ in range(RECORDS)]
        values: list[Any] = [DatumReader(theirs).read(BinaryDecoder(BytesIO(data))) for data in records]
    except (AvroException, AttributeError, TypeError):  # the latter for what it has no message for
        return False
    decoder = Decoder(VALUES)
    decoder.add(7, schema)
    try:
        for data, value in zip(records, values, strict=True):
            event = decoder.decode(record(framed(7, data)))
            assert event is not None
            assert event.user.client_user_id == value["id"]
            check_same(value["values"], dict(event.attributes))
    except Exception as error:
        error.add_note(f"seed {seed} (set AVRO_SEED to run it again):\n{text}")
        raise
    return True


def written(schema: avro.schema.Schema, rng: random.Random) -> bytes:
    stream = BytesIO()
    DatumWriter(schema).write(some(schema, rng, 0), BinaryEncoder(stream))
    return stream.getvalue()


def check_same(theirs: Any, ours: Any) -> None:  # noqa: ANN401 - any value
    if isinstance(theirs, dict):
        assert theirs.keys() == ours.keys()
        for name, value in theirs.items():
            check_same(value, ours[name])
    elif isinstance(theirs, list):
        assert len(theirs) == len(ours)
        for one, other in zip(theirs, ours, strict=True):
            check_same(one, other)
    elif isinstance(theirs, float) and math.isnan(theirs):
        assert math.isnan(ours)
    elif not isinstance(theirs, int | bytes) or isinstance(ours, int | bytes):  # else of a logical type new to it
        assert ours == (str(theirs) if isinstance(theirs, UUID) else theirs)


def some(schema: Any, rng: random.Random, depth: int) -> Any:  # noqa: ANN401 - schemas of many classes, any value
    """A value that fits the schema."""
    count = 0 if depth > _DEEP else rng.randint(0, 3)
    value: Any
    match schema.type:
        case "record" | "error":
            value = {field.name: some(field.type, rng, depth + 1) for field in schema.fields}
        case "union":
            value = some(schema.schemas[0] if depth > _DEEP else rng.choice(schema.schemas), rng, depth + 1)
        case "array":
            value = [some(schema.items, rng, depth + 1) for _ in range(count)]
        case "map":
            value = {f"{rng.randrange(99)}ß": some(schema.values, rng, depth + 1) for _ in range(count)}
        case kind:
            value = (_LOGICAL.get(type(schema)) or _PLAIN[kind])(schema, rng)
    return value


def _decimal(schema: Any, rng: random.Random) -> Decimal:  # noqa: ANN401 - as above
    return Decimal(rng.randrange(10 ** min(schema.precision, 20))).scaleb(-schema.scale)


def _timestamp(unit_micros: int) -> Callable[[Any, random.Random], datetime]:
    def make(_schema: object, rng: random.Random) -> datetime:
        micros = rng.randint(0, 2**51) // unit_micros * unit_micros
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

    return make


def _time(unit_micros: int) -> Callable[[Any, random.Random], time]:
    def make(_schema: object, rng: random.Random) -> time:
        micros = rng.randrange(_DAY_MICROS) // unit_micros * unit_micros
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).time()

    return make


_LOGICAL: dict[type, Callable[[Any, random.Random], Any]] = {
    avro.schema.DateSchema: lambda _schema, rng: date.fromordinal(rng.randint(1, date.max.toordinal())),
    avro.schema.TimeMillisSchema: _time(1_000),
    avro.schema.TimeMicrosSchema: _time(1),
    avro.schema.TimestampMillisSchema: _timestamp(1_000),
    avro.schema.TimestampMicrosSchema: _timestamp(1),
    avro.schema.BytesDecimalSchema: _decimal,
    avro.schema.FixedDecimalSchema: _decimal,
    avro.schema.UUIDSchema: lambda _schema, rng: str(UUID(int=rng.getrandbits(128))),
}
_PLAIN: dict[str, Callable[[Any, random.Random], Any]] = {
    "null": lambda _schema, _rng: None,
    "boolean": lambda _schema, rng: rng.random() < 0.5,
    "int": lambda _schema, rng: rng.randint(-(2**31), 2**31 - 1) >> rng.randrange(31),
    "long": lambda _schema, rng: rng.randint(-(2**63), 2**63 - 1) >> rng.randrange(63),
    "float": lambda _schema, rng: rng.choice((rng.gauss(0, 9), math.nan, math.inf)),
    "double": lambda _schema, rng: rng.choice((rng.gauss(0, 9), math.nan, -math.inf)),
    "enum": lambda schema, rng: rng.choice(schema.symbols),
    "fixed": lambda schema, rng: rng.randbytes(schema.size),
    "bytes": lambda _schema, rng: rng.randbytes(rng.randrange(9)),
    "string": lambda _schema, rng: "".join(rng.choices("aZ 0ß尺😀\0", k=rng.randrange(9))),
}


def test_random_records_of_random_schemas_have_the_values_that_python_reads() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each logical type that it does not take
        taken = sum(check_schema(seed) for seed in range(SEED, SEED + SCHEMAS))
    assert taken > SCHEMAS / 2, f"it refuses most; seed {SEED}"


def test_a_schema_with_two_types_of_one_name_is_not_compared() -> None:
    assert not check_schema(HOMONYMS)


def test_a_name_without_a_namespace_is_of_the_namespace_around_it() -> None:
    inner = fields(("items", {"type": "array", "items": "T"}), ("size", "int"), name="T") | {"namespace": "n.m"}
    schema = fields(("id", "string"), ("values", {"type": "map", "values": inner}), name="T")
    written = body(schema, {"id": "1", "values": {"a": {"items": [{"items": [], "size": 2}], "size": 1}}})
    decoder = Decoder(VALUES, writer_schema=schema)
    event = decoder.decode(record(written))
    assert event is not None
    assert event.attributes == {"a": {"items": [{"items": [], "size": 2}], "size": 1}}
