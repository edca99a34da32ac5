"""Reads Avro bytes into Python values, strictly and within bounds, by closures compiled once per schema.

fastavro trusts the bytes, and has no strict mode. It takes a negative union or enum index from the end of the list, so
a corrupt record becomes another value. It wraps numbers over 64 bits around. It does not notice that a field is cut
short if the reader schema leaves it out. It recurses in C as deep as the bytes say, until the process dies, and builds
as many zero-byte items as an array claims.

We tried to check each record before fastavro reads it: that took longer than the reading. This reader is faster than
either, because it indexes the bytes, where fastavro calls a stream's `read`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastavro.read

from worker.core.avro.preparation import plain_name
from worker.core.avro.primitives import (
    PRIMITIVES,
    TRUNCATED,
    Misfit,
    Read,
    check_end,
    enum,
    fixed,
    read_block,
    read_long,
    read_string,
)
from worker.core.avro.schema import AvroType, Undecodable, is_record, kind_of

_DEPTH_MAX = 64
"""Levels of a recursive type. Real trees are shallower, and the stack has room for many more."""
_OBJECTS_MAX = 262_144
"""Records, arrays, maps and zero-byte values in one record. A count in the bytes can claim any number of them."""
_TOO_MANY = f"more than {_OBJECTS_MAX} records, arrays, maps and values that take no bytes, in one record"
_BRANCHES_OF_ONE_BYTE = 64
_NAME_SHOWN_MAX = 60


class Usage:
    """How much of the bounds above the current record has used."""

    __slots__ = ("depth", "objects")

    def __init__(self) -> None:
        self.depth = 0
        self.objects = 0

    def add_objects(self, objects: int) -> None:
        """Counts them.

        Raises:
            Misfit: They are too many.
        """
        self.objects += objects
        if self.objects > _OBJECTS_MAX:
            raise Misfit(_TOO_MANY)


class Reader:
    """Reads records of one schema, one at a time. Keeps nothing of the schema but what reading needs."""

    def __init__(self, avro: AvroType) -> None:
        self._usage = Usage()
        self._root = Closures(avro, self._usage).of(avro.root)

    def read(self, data: bytes, start: int) -> Any:  # noqa: ANN401 - whatever the schema says
        """The value from `start` to the end of the data.

        Raises:
            Undecodable: The bytes do not fit the schema, or exceed the bounds above. Says at which field.
        """
        self._usage.depth = self._usage.objects = 0
        try:
            value, end = self._root(data, start)
        except (Misfit, IndexError) as misfit:
            raise Undecodable(_reason(misfit)) from None
        except RecursionError:
            raise Undecodable("its schema's types are nested too deep to be read") from None
        if end != len(data):
            raise Undecodable(f"{len(data) - end} bytes follow the end of the record")
        return value


class Closures:
    """Makes the closures that read the values of one schema.

    Raises:
        Undecodable: Its records would exceed the bounds above.
    """

    def __init__(self, avro: AvroType, usage: Usage) -> None:
        self._avro = avro
        self._usage = usage
        self._named: dict[str, Read] = {}
        self._weights: dict[str, int] = {}
        if self.weight(avro.root) > _OBJECTS_MAX:
            raise Undecodable(f"its schema has {_TOO_MANY}")

    def of(self, schema: Any) -> Read:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """A closure that reads a value of this type, which is the schema or a part of it."""
        kind = kind_of(schema)
        if isinstance(schema, str) and kind in self._avro.names:
            return self._by_name(kind)
        if is_record(schema):
            return self._record(schema)
        read = _logical(schema, self._plain(kind, schema))
        if isinstance(schema, dict) and "name" in schema:
            self._named[schema["name"]] = read
        return read

    def _plain(self, kind: str, schema: Any) -> Read:  # noqa: ANN401 - as above
        match kind:
            case "union":
                return self._union(schema)
            case "array":
                return self._array(schema)
            case "map":
                return self._map(schema)
            case "enum":
                return enum(schema)
            case "fixed":
                return fixed(schema)
            case _:
                return PRIMITIVES[kind]

    def _by_name(self, name: str) -> Read:
        if not self._avro.recursive:
            return self._named.get(name) or self.of(self._avro.names[name])
        named, usage, weight = self._named, self._usage, self.weight(name)

        def read(data: bytes, at: int) -> tuple[Any, int]:
            usage.add_objects(weight)
            usage.depth += 1
            if usage.depth > _DEPTH_MAX:
                raise Misfit(f"nested more than {_DEPTH_MAX} deep")
            # Look it up at each use: while a recursive type is compiled, it refers to itself.
            result = named[name](data, at)
            usage.depth -= 1
            return result

        return read

    def _record(self, schema: dict[str, Any]) -> Read:
        own = _shown(plain_name(schema))
        fields: list[tuple[str, Read]] = []

        def record(data: bytes, at: int) -> tuple[dict[str, Any], int]:
            value: dict[str, Any] = {}
            name = ""
            try:
                for name, read in fields:
                    value[name], at = read(data, at)
            except (Misfit, IndexError) as misfit:
                raise Undecodable(f"{own}.{_shown(name)}: {_reason(misfit)}") from None
            return value, at

        read = self._named[schema["name"]] = _logical(schema, record)
        fields.extend((field["name"], self.of(field["type"])) for field in schema["fields"])
        return read

    def _union(self, schema: list[Any]) -> Read:
        branches = [self.of(branch) for branch in schema]
        by_byte = {index << 1: read for index, read in enumerate(branches[:_BRANCHES_OF_ONE_BYTE])}

        def union(data: bytes, at: int) -> tuple[Any, int]:
            read = by_byte.get(data[at])
            if read is not None:
                return read(data, at + 1)
            index, at = read_long(data, at)
            if not 0 <= index < len(branches):
                raise Misfit("no such union branch in the schema")
            return branches[index](data, at)

        return union

    def _array(self, schema: dict[str, Any]) -> Read:
        item = self.of(schema["items"])
        weight = self.weight(schema["items"])
        add_objects = self._usage.add_objects

        def array(data: bytes, at: int) -> tuple[list[Any], int]:
            items: list[Any] = []
            while data[at]:
                count, at, end = read_block(data, at)
                if not count:
                    return items, at
                if weight:
                    add_objects(count * weight)
                for _ in range(count):
                    value, at = item(data, at)
                    items.append(value)
                if end is not None:
                    check_end(at, end)
            return items, at + 1

        return array

    def _map(self, schema: dict[str, Any]) -> Read:
        item = self.of(schema["values"])
        weight = self.weight(schema["values"])
        add_objects = self._usage.add_objects

        def read_map(data: bytes, at: int) -> tuple[dict[str, Any], int]:
            items: dict[str, Any] = {}
            while data[at]:
                count, at, end = read_block(data, at)
                if not count:
                    return items, at
                if weight:
                    add_objects(count * weight)
                for _ in range(count):
                    key, at = read_string(data, at)
                    items[key], at = item(data, at)
                if end is not None:
                    check_end(at, end)
            return items, at + 1

        return read_map

    def weight(self, schema: Any) -> int:  # noqa: ANN401 - as above
        """The most objects that one value of this schema can cost without a byte for each.

        Without those inside its arrays, maps and recursive types: these are counted while they are read.
        """
        schema = self._avro.resolve(schema)
        kind = kind_of(schema)
        if kind == "union":
            return max((self.weight(branch) for branch in schema if kind_of(branch) != "null"), default=0)
        if not is_record(schema):
            return int(kind in {"array", "map", "null"} or (kind == "fixed" and int(schema["size"]) == 0))
        name = schema["name"]
        if name not in self._weights:
            self._weights[name] = 1  # in case it refers to itself
            self._weights[name] = 1 + sum(self.weight(field["type"]) for field in schema["fields"])
        return self._weights[name]


def _reason(misfit: Misfit | IndexError) -> str:
    return TRUNCATED if type(misfit) is IndexError else str(misfit)


def _shown(name: str) -> str:
    cut = name[: _NAME_SHOWN_MAX + 1]
    shown = cut if cut.isprintable() else ascii(cut)
    return shown if len(shown) <= _NAME_SHOWN_MAX else shown[:_NAME_SHOWN_MAX] + "…"


def converter(schema: Any) -> Callable[[Any, Any, None], Any] | None:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """The logical type's reader in `render`, which takes a plain value and the schema. None: the plain value counts."""
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return None
    convert: Callable[[Any, Any, None], Any] = fastavro.read.LOGICAL_READERS[
        f"{schema['type']}-{schema['logicalType']}"
    ]
    return convert


def _logical(schema: Any, read: Read) -> Read:  # noqa: ANN401 - as above
    """The same, converted by the logical type."""
    convert = converter(schema)
    if convert is None:
        return read

    def logical(data: bytes, at: int) -> tuple[Any, int]:
        value, at = read(data, at)
        return convert(value, schema, None), at

    return logical
