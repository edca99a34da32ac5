"""From a record's bytes to an event: framing, the writer's schema, and the mapping of fields."""

from __future__ import annotations

from worker.core.avro.framing import HEADER_BYTES, framed, other_framing
from worker.core.avro.schema import AvroType, InvalidSchema, Undecodable
from worker.core.events.attributes import kept_back, left_out
from worker.core.events.fit import absent, no_identifiers, unfit
from worker.core.events.keys import KeyForm
from worker.core.events.mapping import Mapping, Shape
from worker.core.events.planning import Planner
from worker.core.events.plans import Plan, Plans, Sendable
from worker.core.model import SCHEMA_ID_MAX, Event, Record, SchemaId
from worker.core.rules.preflight import Preflight

__all__ = ["Decoder", "SchemaMissing", "Undecodable"]

_UNUSABLE_KEPT = 10_000
"""Bound of the ids kept as missing or not Avro: hostile records may name any number of them."""


class SchemaMissing(Exception):
    """The record's schema is not known yet: request it, then decode the record again.

    Attributes:
        schema_id: From the record's framing.
    """

    def __init__(self, schema_id: SchemaId) -> None:
        super().__init__(f"schema {schema_id} is not known yet")
        self.schema_id = schema_id


class Decoder:
    """Decodes records of any number of schemas into events.

    Args:
        mapping: Which fields mean what.
        writer_schema: The one schema of bare Avro. None: each record names its schema by Confluent framing.
        reader_schema: Records are resolved to it (defaults, aliases, promotions), and the mapping's paths are paths in
            it. Decoding then takes about seven times as long. None: the paths are paths in each writer's schema.
        key: What Kafka keys are, if a path leads into them. None: framed as values.
        empty_is_tombstone: Whether a value of zero bytes is one.

    Raises:
        ValueError: A schema is not valid Avro, or the mapping does not fit it. Says which.

    Example, for framed records:

        decoder = Decoder(Mapping(attributes="profile"))
        decoder.add(7, json.loads(schema_text))  # the registry's answer to id 7
        decoder.decode(record)  # an Event; raises SchemaMissing if the record names another id
    """

    def __init__(
        self,
        mapping: Mapping,
        *,
        writer_schema: object | None = None,
        reader_schema: object | None = None,
        key: KeyForm | None = None,
        empty_is_tombstone: bool = False,
    ) -> None:
        self._empty_is_tombstone = empty_is_tombstone
        self._mapping = mapping
        self._header = b""
        self._latest: Plan | None = None
        """The plan of the record before, if its header named the schema: that of the next one is mostly the same."""
        self._plans: Plans[tuple[SchemaId | None, SchemaId | None], Plan] = Plans()
        self._types: Plans[SchemaId, AvroType] = Plans()
        """If the mapping looks at keys, which may have any schema beside a value's; else the plan is enough."""
        self._unusable: dict[SchemaId, str] = {}
        self._absent: set[SchemaId] = set()  # of the unusable ids, those that do not exist
        self._key = (key or KeyForm()) if mapping.looks_at_key else None
        try:
            self._reader = None if reader_schema is None else AvroType(reader_schema, defaults=True)
        except InvalidSchema as error:
            raise ValueError(f"the reader schema is {error}") from None
        try:
            self._key_type = None if self._key is None else self._key.fixed
        except InvalidSchema as error:
            raise ValueError(f"the key's schema is {error}") from None
        self._planner = Planner(mapping, self._reader, plain_key=None if self._key is None else self._key.plain)
        try:
            self._bare = None if writer_schema is None else _prepared(writer_schema, "the writer schema")
            self._compile_bare()
        except Undecodable as error:
            raise ValueError(str(error)) from None

    def add(self, schema_id: SchemaId, schema: object | None) -> None:
        """Adds the schema of an id.

        If it is None, is not valid Avro or does not fit the mapping, records with this id are undecodable.

        Args:
            schema_id: From the framing.
            schema: As `json.loads` gives it. None if the registry answered that there is no such id.
        """
        if schema is None:
            self._mark_unusable(schema_id, f"schema {schema_id} does not exist")
            self._absent.add(schema_id)
            return
        try:
            avro = _prepared(schema, f"schema {schema_id}")
        except Undecodable as error:
            self._mark_unusable(schema_id, str(error))
            return
        self._types.put(schema_id, avro, avro.parts)
        self._plans.forget((schema_id, None))
        self._latest = None
        self._unusable.pop(schema_id, None)
        self._absent.discard(schema_id)

    def forget_absent(self) -> None:
        """Forgets which ids do not exist: their next records ask for them again."""
        for schema_id in self._absent:
            self._unusable.pop(schema_id, None)
        self._absent.clear()

    @property
    def asks_for_keys(self) -> bool:
        """Whether the Kafka keys name schemas of their own, which are asked for."""
        return self._key is not None and self._key_type is None

    def is_tombstone(self, record: Record) -> bool:
        """Whether the record has no value."""
        return record.value is None or (self._empty_is_tombstone and not record.value)

    def decode(self, record: Record) -> Event | None:
        """The event in a record that is not a tombstone. None if the mapping's rules ignore the record.

        Only of a decoder that does not go on to preflight.

        Raises:
            SchemaMissing: The schema of its value, or of its key, is not known yet.
            Undecodable: Its bytes do not fit the schema. The message becomes the dead letter's detail.
        """
        event = self.decode_on(record)
        assert not isinstance(event, tuple)  # noqa: S101 - see above
        return event

    def _compile_bare(self) -> None:
        if self._bare is not None and (self._key is None or self._key_type is not None):
            plan = self._compiled(Shape(self._bare, self._key_type), "the writer schema")
            self._plans.put((None, None), plan, self._bare.parts)

    def go_on_to(self, preflight: Preflight) -> None:
        """`decode_on` goes on to preflight, as far as generated code can. To be called before the first record."""
        self._planner.preflight = preflight
        self._compile_bare()

    def decode_on(self, record: Record) -> Event | Sendable | None:
        """As `decode`; but what is sent of the event, if nothing of it is refused and the decoder goes on to preflight.

        The event is left where that is not plain at once: it may still come to the same.
        """
        value = record.value
        if value is None:
            raise ValueError("a tombstone has nothing to decode; pass it over before")
        if self._bare is not None:
            return self._decode(record, value, None, 0)
        try:
            if self._latest is not None and value[:HEADER_BYTES] == self._header and not record.headers:
                return self._latest(value, HEADER_BYTES, None, 0)
            return self._decode(record, value, *framed(value, record.headers, "__value_schema_id"))
        except Undecodable as why:
            if hint := other_framing(value, record.headers):
                raise Undecodable(f"{why}; {hint}") from None
            raise

    def _decode(self, record: Record, value: bytes, value_id: SchemaId | None, start: int) -> Event | Sendable | None:
        key_id, key_start = (None, 0) if self._key is None else self._key.framed(record)
        plan = self._plans.get((value_id, key_id)) or self._plan(value_id, key_id)
        if self._key is None and start and not record.headers:
            self._header, self._latest = value[:start], plan
        else:
            self._latest = None
        return plan(value, start, record.key, key_start)

    def absent_paths(self, schema: object, key_schema: object | None = None) -> tuple[str, ...]:
        """The mapping's paths that a record lacks, as `setting: path`. `check` asks before a deploy.

        Raises:
            ValueError: A schema is not valid Avro.
        """
        return absent(self._mapping, self._shape_of(schema, key_schema))

    def kept_back(self, schema: object, key_schema: object | None = None) -> tuple[str, ...]:
        """The fields that are not sent because they look like an identifier, as paths; errors as `absent_paths`."""
        return kept_back(self._mapping, self._shape_of(schema, key_schema))

    def left_out(self, schema: object, key_schema: object | None = None) -> dict[str, str]:
        """The fields beside the attributes that are none, as paths, each with why; errors as `absent_paths`."""
        return left_out(self._mapping, self._shape_of(schema, key_schema))

    def no_identifiers(self, schema: object, key_schema: object | None = None) -> tuple[str, ...]:
        """The paths of identifiers that can never be one, as `setting: path`; errors as `absent_paths`."""
        return no_identifiers(self._mapping, self._shape_of(schema, key_schema))

    def unfit(self, schema: object, key_schema: object | None = None) -> tuple[str, ...]:
        """What is wrong with the paths of time and event id, in words; errors as `absent_paths`."""
        return unfit(self._mapping, self._shape_of(schema, key_schema))

    def check(self, schema: object, key_schema: object | None = None) -> None:
        """Raises ValueError if no record of this schema could be read. Says why."""
        try:
            self._planner.plan(self._shape_of(schema, key_schema), "")
        except Undecodable as why:
            raise ValueError(str(why)) from None

    def _shape_of(self, schema: object, key_schema: object | None) -> Shape:
        key = self._key_type if key_schema is None else AvroType(key_schema)
        return Shape(self._reader or AvroType(schema), key)

    def _mark_unusable(self, schema_id: SchemaId, reason: str) -> None:
        while len(self._unusable) >= _UNUSABLE_KEPT:
            oldest = next(iter(self._unusable))
            del self._unusable[oldest]
            self._absent.discard(oldest)
        self._types.forget(schema_id)
        self._unusable[schema_id] = reason

    def _plan(self, value_id: SchemaId | None, key_id: SchemaId | None) -> Plan:
        """Compiles the plan of a value's schema beside a key's. If no record of them could be read, it says why."""
        what = "the writer schema" if value_id is None else f"schema {value_id}"
        value = self._bare if value_id is None else self._known(value_id)
        key = self._key_type if key_id is None else self._known(key_id, "key: ")
        assert value is not None  # noqa: S101 - only bare Avro has no id
        try:
            plan = self._compiled(Shape(value, key), what)
        except Undecodable as why:
            plan = _refusing(str(why))
        self._latest = None
        self._plans.put((value_id, key_id), plan, value.parts + (0 if key is None else key.parts))
        if self._key is None and value_id is not None:
            self._types.forget(value_id)
        return plan

    def _compiled(self, shape: Shape, what: str) -> Plan:
        """The plan. Whatever an odd schema raises is `Undecodable`."""
        try:
            return self._planner.plan(shape, what)
        except Undecodable as error:
            raise Undecodable(f"{what}: {error}") from None
        except Exception as error:  # noqa: BLE001 - see above
            raise Undecodable(f"{what} cannot be used ({type(error).__name__})") from None

    def _known(self, schema_id: SchemaId, what: str = "") -> AvroType:
        avro = self._types.get(schema_id)
        if avro is not None:
            return avro
        if isinstance(schema_id, int) and schema_id > SCHEMA_ID_MAX:
            raise Undecodable(f"{what}schema id {schema_id} is larger than any that a registry gives")
        reason = self._unusable.get(schema_id)
        if reason is None:
            raise SchemaMissing(schema_id)
        raise Undecodable(what + reason)


def _prepared(schema: object, what: str) -> AvroType:
    try:
        return AvroType(schema)
    except InvalidSchema as error:
        raise Undecodable(f"{what}: {error}") from None


def _refusing(why: str) -> Plan:
    def refuse(_value: bytes, _start: int, _key: bytes | None, _key_start: int) -> Event | None:
        raise Undecodable(why)

    return refuse
