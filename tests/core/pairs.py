"""A generated plan beside reader and extractor, which it is compared with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from tests.fuzz import schemas
from tests.fuzz.mutate import spoilt, valid
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.avro.source import Names
from worker.core.events.attributes import naming
from worker.core.events.extract import extractor
from worker.core.events.generate import generated
from worker.core.events.mapping import KEY, Mapping, Shape
from worker.core.events.plans import Sendable
from worker.core.events.spots import NotCovered
from worker.core.model import Event
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

LEFT = "left to the closures"
REFUSED = "refused"


Rules: TypeAlias = tuple[IdentityRules, AttributeRules]


def seen(event: Event | Sendable | None) -> str:
    """All of an event, of which its own `repr` shows little. Unlike ==, it knows 1 from True."""
    assert not isinstance(event, tuple)
    if event is None:
        return "ignored"
    user = event.user
    told = (user.phone, user.email, user.client_user_id, user.custom, event.attributes, event.occurred_at_ms)
    return repr((*told, event.event_id, event.unusable, event.kept_back))


def sent(content: Event | Sendable | None, preflight: Preflight) -> str:
    """What is sent of an event, or LEFT: something of it is refused, or it is more than a `Sendable` can say."""
    if content is None:
        return "ignored"
    if isinstance(content, Event):
        checked = preflight.check(content)
        if checked.refusals or checked.sent or checked.dropped_identifiers or not (checked.key and checked.accepted):
            return LEFT
        passed_over = checked.passed_over + len(content.kept_back)
        content = checked.key, dict(checked.accepted), content.occurred_at_ms, content.event_id, passed_over
    key, values, *rest = content
    return repr((bytes(key), sorted((name, type(value), str(value)) for name, value in values.items()), *rest))


class Pair:
    """Reader and extractor of a schema and a mapping, and the plan that is generated of the same.

    With rules, both go on to preflight.
    """

    def __init__(
        self, schema: object, mapping: Mapping, key_schema: object | None = None, rules: Rules | None = None
    ) -> None:
        self.avro = AvroType(schema)
        shape = Shape(self.avro, None if key_schema is None else AvroType(key_schema))
        named = naming(mapping)
        self._reader = Reader(self.avro)
        self._read_key = None if shape.key is None else Reader(shape.key).read
        self._extract = extractor(mapping, shape, named)
        preflight, other = (None, None) if rules is None else (Preflight(*rules), Preflight(*rules))
        self._seen = seen if other is None else partial(sent, preflight=other)
        self.plan = generated(mapping, shape, named, Names(), self._read_key, leave, "schema 7", preflight)

    @property
    def source(self) -> str:
        return str(self.plan.__globals__["__loader__"].get_source(""))

    def expected(self, data: bytes, key: bytes | None = None) -> str:
        try:
            value = self._reader.read(data, 3)
            if type(value) is not dict:
                return REFUSED
            if self._read_key is not None and key is not None:
                value[KEY] = self._read_key(key, 0)
            return self._seen(self._extract(value))
        except Undecodable:
            return REFUSED

    def generated(self, data: bytes, key: bytes | None = None) -> str:
        try:
            return self._seen(self.plan(data, 3, key, 0))
        except LeftError as left:
            return LEFT if left.args == (data, 3, key, 0) else "left to the closures with something else"

    def agrees(self, data: bytes, key: bytes | None = None) -> bool:
        """Whether both say the same of these bytes. False: they are left to the closures."""
        found, expected = self.generated(b"abc" + data, key), self.expected(b"abc" + data, key)
        assert found in {expected, LEFT}, f"{data.hex()}: {expected}"
        return found != LEFT


class LeftError(Exception):
    """The generated plan has left a record to the closures, with all that it was given."""


def leave(value: bytes, start: int, key: bytes | None, key_start: int) -> Event | None:
    raise LeftError(value, start, key, key_start)


def pair_of(schema: object, mapping: Mapping, rules: Rules | None = None) -> Pair | None:
    try:
        return Pair(schema, mapping, rules=rules)
    except (NotCovered, Undecodable):
        return None


def compared(seeds: Iterable[int], mappings: Sequence[Mapping], rules: Callable[[random.Random], Rules | None]) -> int:
    """Compares valid and spoilt records of random schemas. Returns how many valid ones were not left to closures."""
    agreed = 0
    for seed in seeds:
        rng = random.Random(seed)
        schema = schemas.valid(rng)
        for mapping in mappings:
            pair = pair_of(schema, mapping, rules(rng))
            if pair is None:
                continue
            try:
                for _ in range(4):
                    pieces, other = valid(pair.avro, rng), valid(pair.avro, rng)
                    agreed += pair.agrees(b"".join(pieces))
                    pair.agrees(spoilt(pieces, other, rng))
            except Exception as error:
                error.add_note(f"seed {seed} (set FUZZ_SEED to run it again), {mapping}:\n{json.dumps(schema)}")
                raise
    return agreed
