"""A generated plan beside reader and extractor, which it is compared with."""

from __future__ import annotations

from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.avro.source import Names
from worker.core.events.attributes import naming
from worker.core.events.extract import extractor
from worker.core.events.generate import generated
from worker.core.events.mapping import KEY, Mapping, Shape
from worker.core.events.spots import NotCovered
from worker.core.model import Event

LEFT = "left to the closures"
REFUSED = "refused"


def seen(event: Event | None) -> str:
    """All of an event, of which its own `repr` shows little. Unlike ==, it knows 1 from True."""
    if event is None:
        return "ignored"
    user = event.user
    told = (user.phone, user.email, user.client_user_id, user.custom, event.attributes, event.occurred_at_ms)
    return repr((*told, event.event_id, event.unusable, event.kept_back))


class Pair:
    """Reader and extractor of a schema and a mapping, and the plan that is generated of the same."""

    def __init__(self, schema: object, mapping: Mapping, key_schema: object | None = None) -> None:
        self.avro = AvroType(schema)
        shape = Shape(self.avro, None if key_schema is None else AvroType(key_schema))
        named = naming(mapping)
        self._reader = Reader(self.avro)
        self._read_key = None if shape.key is None else Reader(shape.key).read
        self._extract = extractor(mapping, shape, named)
        self.plan = generated(mapping, shape, named, Names(), self._read_key, leave, "schema 7")

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
            return seen(self._extract(value))
        except Undecodable:
            return REFUSED

    def generated(self, data: bytes, key: bytes | None = None) -> str:
        try:
            return seen(self.plan(data, 3, key, 0))
        except LeftError:
            return LEFT

    def agrees(self, data: bytes, key: bytes | None = None) -> bool:
        """Whether both say the same of these bytes. False: they are left to the closures."""
        found, expected = self.generated(b"abc" + data, key), self.expected(b"abc" + data, key)
        assert found in {expected, LEFT}, f"{data.hex()}: {expected}"
        return found != LEFT


class LeftError(Exception):
    """The generated plan has left a record to the closures."""


def leave(_value: bytes, _start: int, _key: bytes | None, _key_start: int) -> Event | None:
    raise LeftError


def pair_of(schema: object, mapping: Mapping) -> Pair | None:
    try:
        return Pair(schema, mapping)
    except (NotCovered, Undecodable):
        return None
