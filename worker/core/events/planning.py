"""Makes the plan of a schema: closures, and generated code before them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable, is_record
from worker.core.avro.source import Names
from worker.core.events.attributes import naming
from worker.core.events.extract import extractor
from worker.core.events.generate import generated
from worker.core.events.mapping import KEY, Mapping, Shape
from worker.core.events.plans import Plan
from worker.core.model import Event
from worker.core.rules.preflight import Preflight

_ReadKey = Callable[[bytes, int], object]


class Planner:
    """Makes the plans of one mapping.

    Args:
        mapping: Which fields mean what.
        reader: What records are resolved to, or None.
        plain_key: Reads a Kafka key that is not Avro. None: keys are.
    """

    def __init__(
        self, mapping: Mapping, reader: AvroType | None, *, plain_key: Callable[[bytes], object] | None
    ) -> None:
        self._mapping = mapping
        self._reader = reader
        self._plain_key = plain_key
        self._named = naming(mapping)
        self._names = Names()
        self.preflight: Preflight | None = None
        """What plans go on to, as far as code can be generated."""

    def plan(self, shape: Shape, what: str) -> Plan:
        """The plan of records of this shape. `what` is the schema, for people.

        Raises:
            Undecodable: No record of it could be read.
        """
        writer = shape.value
        if not any(is_record(branch) for branch in writer.branches(writer.root)):
            raise Undecodable("it is not the schema of a record")
        if not self._mapping.takes(writer):
            return lambda _value, _start, _key, _key_start: None
        read_key = None if shape.key is None else self._key_reader(shape.key)
        closures = self._closures(shape, read_key, what)
        if self._reader is not None:
            return closures
        for preflight in dict.fromkeys((self.preflight, None)):
            try:
                return generated(self._mapping, shape, self._named, self._names, read_key, closures, what, preflight)
            except Exception:  # noqa: BLE001, S112 - `NotCovered`, or an odd schema: the next way covers more
                continue
        return closures

    def _closures(self, shape: Shape, read_key: _ReadKey | None, what: str) -> Plan:
        """The plan that reads all, and says what is wrong. Whatever an odd schema makes it raise is `Undecodable`."""
        writer, resolved = shape.value, self._reader
        reader = Reader(writer)
        extract = extractor(self._mapping, Shape(resolved or writer, shape.key), self._named)
        resolve = None if resolved is None else _resolver(writer, resolved)

        def decode(value: bytes, start: int, key: bytes | None, key_start: int) -> Event | None:
            try:
                data = reader.read(value, start)
                if resolve is not None:
                    data = resolve(value, start)
                if type(data) is dict:
                    if read_key is not None and key is not None:
                        data[KEY] = read_key(key, key_start)
                    return extract(data)
            except Undecodable:
                raise
            except Exception as error:  # noqa: BLE001 - see above
                raise Undecodable(f"{what} cannot read it ({type(error).__name__})") from None
            raise Undecodable("it is not a record, but another branch of the schema's union")

        return decode

    def _key_reader(self, avro: AvroType) -> _ReadKey:
        plain = self._plain_key
        if plain is not None:
            return lambda key, _start: plain(key)
        reader = Reader(avro)

        def read(key: bytes, start: int) -> object:
            try:
                return reader.read(key, start)
            except Undecodable as why:
                raise Undecodable(f"key: {why}") from None

        return read


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
