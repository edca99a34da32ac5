"""A walk over Avro bytes that decodes nothing: it proves that they fit their schema, within bounds.

fastavro is fast and trusting: it recurses in C as deep as the bytes say (a few thousand levels end the process),
builds as many zero-width items as an array claims, and takes a negative union index for one from the end. So schemas
that allow the first two are walked before each decoding, and any record that fastavro refuses is walked after, for
an exact reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.core.avro import AvroType, Undecodable, is_record, kind_of

_DEPTH_MAX = 64
"""Levels of a recursive type; real trees are shallower, and the stack is far from its end."""
_EMPTY_ITEMS_MAX = 65_536
"""Array items that take no bytes, in one record: the only thing that its size does not bound."""
_VARINT_BYTES_MAX = 10
_INT_MAX = 2**31 - 1
_LONG_BITS = 64

_FIXED_WIDTHS = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class _Walk:
    """One record on its way."""

    __slots__ = ("data", "depth", "empty_items", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.depth = 0
        self.empty_items = 0

    def advance(self, count: int, where: str) -> None:
        left = len(self.data) - self.position
        if count < 0:
            raise Undecodable(f"{where}: a negative length")
        if count > left:
            raise Undecodable(f"{where}: {count} bytes wanted, {left} left")
        self.position += count

    def long(self, where: str) -> int:
        number = 0
        for index in range(_VARINT_BYTES_MAX):
            if self.position >= len(self.data):
                raise Undecodable(f"{where}: the record ends within a number")
            byte = self.data[self.position]
            self.position += 1
            number |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the varint's continuation bit
                if number >> _LONG_BITS:
                    break
                return (number >> 1) ^ -(number & 1)
        raise Undecodable(f"{where}: a number of more than 64 bits")


_Step = Callable[[_Walk], None]


class Scanner:
    """Walks records of one schema.

    Attributes:
        needed: Whether the schema allows bytes that fastavro does not survive.
    """

    def __init__(self, avro: AvroType) -> None:
        self._avro = avro
        self._named: dict[str, _Step] = {}
        self._empty: dict[str, bool] = {}
        self._zero_width_items = False
        self._compounds: dict[str, Callable[[Any, str], _Step]] = {
            "union": self._union,
            "array": self._array,
            "map": self._map,
        }
        self._step = self._compile(avro.root, "record")
        self.needed = avro.recursive or self._zero_width_items

    def check(self, data: bytes, start: int) -> None:
        """Walk the record that begins at `start`.

        Raises:
            Undecodable: The bytes do not fit the schema, or pass the bounds above; says at which field.
        """
        walk = _Walk(data, start)
        self._step(walk)
        left = len(data) - walk.position
        if left:
            raise Undecodable(f"{left} bytes follow the end of the record")

    def _compile(self, schema: Any, where: str) -> _Step:  # noqa: ANN401 - Avro's schemas are str, dict or list
        kind = kind_of(schema)
        if kind in self._avro.names:
            return self._by_name(kind)
        if is_record(schema):
            return self._record(schema)
        compound = self._compounds.get(kind)
        if compound is not None:
            return compound(schema, where)
        if kind == "enum":
            step = _indexed(len(schema["symbols"]), "enum symbol", where)
        elif kind == "fixed" or kind in _FIXED_WIDTHS:
            step = _fixed(int(schema["size"]) if kind == "fixed" else _FIXED_WIDTHS[kind], where)
        else:
            step = _LEAVES[kind](where)
        return self._remember(schema, step)

    def _by_name(self, name: str) -> _Step:
        def step(walk: _Walk) -> None:
            # Looked up late: a recursive type is used before its own walk is complete.
            self._named[name](walk)

        return step

    def _remember(self, schema: Any, step: _Step) -> _Step:  # noqa: ANN401 - as above
        if isinstance(schema, dict) and "name" in schema:
            self._named[schema["name"]] = step
        return step

    def _record(self, schema: dict[str, Any]) -> _Step:
        name = str(schema["name"]).rpartition(".")[2]
        steps: list[_Step] = []

        def record(walk: _Walk) -> None:
            walk.depth += 1
            if walk.depth > _DEPTH_MAX:
                raise Undecodable(f"{name}: records nested more than {_DEPTH_MAX} deep")
            for step in steps:
                step(walk)
            walk.depth -= 1

        self._remember(schema, record)
        steps.extend(self._compile(field["type"], f"{name}.{field['name']}") for field in schema["fields"])
        return record

    def _union(self, schema: list[Any], where: str) -> _Step:
        steps = [self._compile(branch, where) for branch in schema]
        index = _index(len(steps), "union branch", where)
        return lambda walk: steps[index(walk)](walk)

    def _array(self, schema: dict[str, Any], where: str) -> _Step:
        item = self._compile(schema["items"], where)
        empty = self._may_be_empty(schema["items"])
        self._zero_width_items |= empty

        def items(walk: _Walk, count: int) -> None:
            if empty:
                walk.empty_items += count
                if walk.empty_items > _EMPTY_ITEMS_MAX:
                    raise Undecodable(f"{where}: more than {_EMPTY_ITEMS_MAX} items that take no bytes")
            for _ in range(count):
                item(walk)

        return _blocks(items, where)

    def _map(self, schema: dict[str, Any], where: str) -> _Step:
        key = _string(where)
        value = self._compile(schema["values"], where)

        def items(walk: _Walk, count: int) -> None:
            for _ in range(count):
                key(walk)
                value(walk)

        return _blocks(items, where)

    def _may_be_empty(self, schema: Any) -> bool:  # noqa: ANN401 - as above
        """Whether a value of this schema can take no bytes at all."""
        schema = self._avro.resolve(schema)
        kind = kind_of(schema)
        if kind == "fixed":
            return int(schema["size"]) == 0
        if not is_record(schema):
            return kind == "null"
        name = schema["name"]
        if name not in self._empty:
            self._empty[name] = True  # should it hold itself, that alone takes no bytes
            self._empty[name] = all(self._may_be_empty(field["type"]) for field in schema["fields"])
        return self._empty[name]


def _blocks(items: Callable[[_Walk, int], None], where: str) -> _Step:
    """Arrays and maps alike: counted blocks until an empty one; a negative count is followed by a size in bytes."""

    def blocks(walk: _Walk) -> None:
        walk.depth += 1
        if walk.depth > _DEPTH_MAX:
            raise Undecodable(f"{where}: nested more than {_DEPTH_MAX} deep")
        while (count := walk.long(where)) != 0:
            if count < 0:
                walk.long(where)
            items(walk, abs(count))
        walk.depth -= 1

    return blocks


def _index(size: int, what: str, where: str) -> Callable[[_Walk], int]:
    def index(walk: _Walk) -> int:
        number = walk.long(where)
        if not 0 <= number < size:
            raise Undecodable(f"{where}: no such {what} in the schema")
        return number

    return index


def _indexed(size: int, what: str, where: str) -> _Step:
    index = _index(size, what, where)

    def step(walk: _Walk) -> None:
        index(walk)

    return step


def _fixed(width: int, where: str) -> _Step:
    return lambda walk: walk.advance(width, where)


def _int(where: str) -> _Step:
    def step(walk: _Walk) -> None:
        if not -_INT_MAX - 1 <= walk.long(where) <= _INT_MAX:
            raise Undecodable(f"{where}: an int of more than 32 bits")

    return step


def _long(where: str) -> _Step:
    def step(walk: _Walk) -> None:
        walk.long(where)

    return step


def _bytes(where: str) -> _Step:
    return lambda walk: walk.advance(walk.long(where), where)


def _string(where: str) -> _Step:
    def step(walk: _Walk) -> None:
        length = walk.long(where)
        start = walk.position
        walk.advance(length, where)
        try:
            walk.data[start : walk.position].decode()
        except UnicodeDecodeError:
            raise Undecodable(f"{where}: not valid UTF-8") from None

    return step


_LEAVES: dict[str, Callable[[str], _Step]] = {"int": _int, "long": _long, "bytes": _bytes, "string": _string}
