"""From a record's bytes to an event: framing, the writer's schema, and the mapping of fields."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, InvalidSchema, Undecodable, is_record
from worker.core.events.extract import extractor, naming
from worker.core.events.mapping import Mapping, absent
from worker.core.events.plans import Plan, Plans
from worker.core.model import Event, Record

__all__ = ["Decoder", "SchemaMissing", "Undecodable"]

_MAGIC = 0
_HEADER_BYTES = 5
_ID_MAX = 2**31 - 1
"""A registry's ids are signed 32-bit integers. Asked for a larger one, some registries answer like for a wrong path."""
_UNUSABLE_KEPT = 10_000
"""Bound of the ids kept as missing or not Avro: hostile records may name any number of them."""


class SchemaMissing(Exception):
    """The record's schema is not known yet: request it, then decode the record again.

    Attributes:
        schema_id: From the record's framing.
    """

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema {schema_id} is not known yet")
        self.schema_id = schema_id


class Decoder:
    """Decodes records of any number of schemas into events.

    Args:
        mapping: Which fields mean what.
        writer_schema: The one schema of bare Avro. None: each record names its schema by Confluent framing.
        reader_schema: Records are resolved to it (defaults, aliases, promotions), and the mapping's paths are paths in
            it. Decoding is then about a third as fast. None: the paths are paths in each writer's schema.

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
    ) -> None:
        self._mapping = mapping
        self._named = naming(mapping)
        self._plans = Plans()
        self._unusable: dict[int, str] = {}
        self._absent: set[int] = set()  # of the unusable ids, those that do not exist
        try:
            self._reader = None if reader_schema is None else AvroType(reader_schema, defaults=True)
        except InvalidSchema as error:
            raise ValueError(f"the reader schema is {error}") from None
        try:
            self._bare = None if writer_schema is None else self._plan(writer_schema, "the writer schema")[0]
        except Undecodable as error:
            raise ValueError(str(error)) from None

    def add(self, schema_id: int, schema: object | None) -> None:
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
            plan, parts = self._plan(schema, f"schema {schema_id}")
        except Undecodable as error:
            self._mark_unusable(schema_id, str(error))
            return
        self._plans.put(schema_id, plan, parts)
        self._unusable.pop(schema_id, None)
        self._absent.discard(schema_id)

    def forget_absent(self) -> None:
        """Forgets which ids do not exist: their next records ask for them again."""
        for schema_id in self._absent:
            self._unusable.pop(schema_id, None)
        self._absent.clear()

    def decode(self, record: Record) -> Event | None:
        """The event in a record that is not a tombstone. None if the mapping's `ignore_when_null` ignores the record.

        Raises:
            SchemaMissing: Its schema is not known yet.
            Undecodable: Its bytes do not fit the schema. The message becomes the dead letter's detail.
        """
        value = record.value
        if value is None:
            raise ValueError("a tombstone has nothing to decode; pass it over before")
        if self._bare is not None:
            return self._bare(value, 0)
        if len(value) < _HEADER_BYTES or value[0] != _MAGIC:
            raise Undecodable(_framing_fault(value))
        schema_id = int.from_bytes(value[1:_HEADER_BYTES], "big")
        plan = self._plans.get(schema_id)
        if plan is not None:
            return plan(value, _HEADER_BYTES)
        reason = self._unusable.get(schema_id)
        if schema_id > _ID_MAX:
            raise Undecodable(f"schema id {schema_id} is larger than any that a registry gives")
        if reason is None:
            raise SchemaMissing(schema_id)
        raise Undecodable(reason)

    def absent_paths(self, schema: object) -> tuple[str, ...]:
        """The mapping's paths that a writer's schema lacks, as `setting: path`. `check` asks before a deploy.

        Raises:
            ValueError: The schema is not valid Avro.
        """
        return absent(self._mapping, self._reader or AvroType(schema))

    def _mark_unusable(self, schema_id: int, reason: str) -> None:
        while len(self._unusable) >= _UNUSABLE_KEPT:
            oldest = next(iter(self._unusable))
            del self._unusable[oldest]
            self._absent.discard(oldest)
        self._unusable[schema_id] = reason

    def _plan(self, schema: object, what: str) -> tuple[Plan, int]:
        """Compiles a writer's schema, of so many parts. Whatever an odd one raises, now or later, is `Undecodable`."""
        try:
            avro = AvroType(schema)
            return self._compiled(avro, what), avro.parts
        except (InvalidSchema, Undecodable) as error:
            raise Undecodable(f"{what}: {error}") from None
        except Exception as error:  # noqa: BLE001 - see above
            raise Undecodable(f"{what} cannot be used ({type(error).__name__})") from None

    def _compiled(self, writer: AvroType, what: str) -> Plan:
        if not any(is_record(branch) for branch in writer.branches(writer.root)):
            raise Undecodable("it is not the schema of a record")
        if not self._mapping.takes(writer):
            return lambda _value, _start: None
        reader = Reader(writer)
        extract = extractor(self._mapping, self._reader or writer, self._named)
        resolve = None if self._reader is None else _resolver(writer, self._reader)

        def decode(value: bytes, start: int) -> Event | None:
            try:
                data = reader.read(value, start)
                if resolve is not None:
                    data = resolve(value, start)
                if type(data) is dict:
                    return extract(data)
            except Undecodable:
                raise
            except Exception as error:  # noqa: BLE001 - see `_plan`
                raise Undecodable(f"{what} cannot read it ({type(error).__name__})") from None
            raise Undecodable("it is not a record, but another branch of the schema's union")

        return decode


def _resolver(writer: AvroType, reader: AvroType) -> Callable[[bytes, int], Any]:
    """A function that resolves a record to the reader's schema. fastavro trusts bytes, so read them strictly before."""

    def resolve(value: bytes, start: int) -> Any:  # noqa: ANN401 - whatever the schema says
        stream = BytesIO(value)
        stream.seek(start)
        try:
            return schemaless_reader(stream, writer.parsed, reader.parsed)
        except Exception as error:  # noqa: BLE001 - fastavro raises nearly anything, and its texts may contain values
            raise Undecodable(f"it does not resolve to the reader schema ({type(error).__name__})") from None

    return resolve


def _framing_fault(value: bytes) -> str:
    if not value:
        return "the record is empty: no magic byte and schema id"
    if value[0] != _MAGIC:
        return "the first byte is not the magic byte 0 of Confluent framing (is it bare Avro, JSON or plain text?)"
    return f"{len(value)} bytes are too few for the magic byte and a 4-byte schema id"
