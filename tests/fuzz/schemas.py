"""Makes schemas: valid ones of every shape, with names that are Avro's own words, and ones with faults in them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

_WORDS = ("record", "error", "enum", "fixed", "array", "map", "union", "request", "string", "int", "null")
_NAMES = (*_WORDS, "A", "B", "Row", "Größe", "_x")
_FIELDS = (
    "type",
    "name",
    "fields",
    "items",
    "values",
    "symbols",
    "size",
    "record",
    "null",
    "a",
    "b",
    "c",
    "d\ud800",
    "",
)
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL = (
    "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
    "local-timestamp-millis", "decimal", "uuid", "duration", "no such type",
)  # fmt: skip
_CONNECT = tuple(f"io.debezium.time.{name}" for name in ("Date", "Time", "NanoTime", "MicroTimestamp", "Year"))
_ODD: tuple[object, ...] = (
    None, True, 0, -1, 7, 2**70, 1.5, "", "record", "no.such.name", "a\ud800", "." , "..a", [], {}, [[]], [None],
    ["null", "null"], {"type": "record"}, {"type": "enum", "name": "E", "symbols": [1]}, {"type": ["string"]},
    {"type": {"type": {"type": "fixed", "name": "F", "size": -1}}}, {"type": "array"}, "x" * 3_000,
)  # fmt: skip
_DEEP = 4


class _Maker:
    """Makes one schema. Remembers the types it has defined, for later uses by name."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._defined: list[tuple[str, str]] = []  # namespace and name

    def record(self, depth: int, namespace: str, *, with_id: bool = False) -> dict[str, Any]:
        rng = self._rng
        schema, inside = self._named("record", namespace)
        if schema is None:
            schema, inside = {"type": "record", "name": f"Spare{rng.getrandbits(40)}"}, namespace
        names = rng.sample(_FIELDS, rng.randint(0, 4))
        schema["fields"] = [{"name": "id", "type": "string"}] if with_id else []
        schema["fields"] += [self._field(name, depth, inside) for name in names]
        return schema

    def _field(self, name: str, depth: int, namespace: str) -> dict[str, Any]:
        rng = self._rng
        field: dict[str, Any] = {"name": name, "type": self.type(depth + 1, namespace)}
        if rng.random() < 0.2:
            field["aliases"] = rng.sample(_NAMES, 2)
        if rng.random() < 0.2:
            field[rng.choice(("doc", "default", "items", "logicalType", "connect.name"))] = rng.choice(_ODD)
        return field

    def _named(self, kind: str, namespace: str) -> tuple[dict[str, Any] | None, str]:
        """A definition under a name that is free, and the namespace inside it. None if the name is taken."""
        rng = self._rng
        name, inside, schema = rng.choice(_NAMES), namespace, {"type": kind}
        if rng.random() < 0.2:
            inside = schema["namespace"] = rng.choice(("n", "n.m", ""))
        if (inside, name) in self._defined:
            return None, namespace
        self._defined.append((inside, name))
        schema["name"] = f"{inside}.{name}" if inside and rng.random() < 0.3 else name
        return schema, inside

    def type(self, depth: int, namespace: str) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
        rng = self._rng
        makers: list[Callable[[int, str], Any]] = [self._primitive, self._primitive, self._annotated]
        if depth <= _DEEP:
            makers += [self._enum, self._fixed, self._by_name, self._array, self._map, self._union, self._inner]
        return rng.choice(makers)(depth, namespace)

    def _primitive(self, _depth: int, _namespace: str) -> Any:  # noqa: ANN401 - as above
        return self._rng.choice(_PRIMITIVES)

    def _annotated(self, _depth: int, _namespace: str) -> dict[str, Any]:
        rng = self._rng
        schema = {"type": rng.choice(_PRIMITIVES), "logicalType": rng.choice(_LOGICAL), "precision": 9}
        schema["scale"] = rng.choice((0, 2, 9, 10_000, -1, True, "2"))
        if rng.random() < 0.3:
            schema["connect.name"] = rng.choice(_CONNECT)
            del schema["logicalType"]
        return schema if rng.random() < 0.9 else {"type": schema}

    def _enum(self, _depth: int, namespace: str) -> Any:  # noqa: ANN401 - as above
        schema, _ = self._named("enum", namespace)
        return "string" if schema is None else schema | {"symbols": ["A", "record", "null"]}

    def _fixed(self, _depth: int, namespace: str) -> Any:  # noqa: ANN401 - as above
        rng = self._rng
        schema, _ = self._named("fixed", namespace)
        return "bytes" if schema is None else schema | {"size": rng.choice((0, 3, 16)), "logicalType": "uuid"}

    def _by_name(self, _depth: int, _namespace: str) -> Any:  # noqa: ANN401 - as above
        # A primitive's word is always the primitive.
        usable = [
            f"{space}.{name}" if space else name for space, name in self._defined if space or name not in _PRIMITIVES
        ]
        # In a union with null and in an array, since it may be the record that we are in.
        name = self._rng.choice(usable) if usable else "string"
        return self._rng.choice((["null", name], {"type": "array", "items": name}))

    def _array(self, depth: int, namespace: str) -> dict[str, Any]:
        return {"type": "array", "items": self.type(depth + 1, namespace)}

    def _map(self, depth: int, namespace: str) -> dict[str, Any]:
        return {"type": "map", "values": self.type(depth + 1, namespace)}

    def _union(self, depth: int, namespace: str) -> list[Any]:
        union: list[Any] = ["null"]
        for _ in range(self._rng.randint(0, 3)):
            branch = self.type(depth + 1, namespace)
            union += branch if isinstance(branch, list) else [branch]
        return union

    def _inner(self, depth: int, namespace: str) -> dict[str, Any]:
        return self.record(depth + 1, namespace)


def valid(rng: random.Random) -> dict[str, Any]:
    """A valid schema of a record with a field `id`. Its enums, and the names of fields, are not always Java's."""
    return _Maker(rng).record(0, "", with_id=True)


def spoilt(schema: Any, rng: random.Random) -> Any:  # noqa: ANN401 - as above
    """The schema with one to three faults in it; it may still be valid."""
    schema = {"root": copy.deepcopy(schema)}
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_places(schema)))
        fault = rng.randrange(4)
        if fault == 0:
            holder[key] = copy.deepcopy(rng.choice(_ODD))
        elif fault == 1 and holder is not schema:
            del holder[key]
        elif fault == 2:
            holder[key] = [copy.deepcopy(holder[key])]
        else:
            other, place = rng.choice(list(_places(schema)))
            holder[key] = copy.deepcopy(other[place])
    return schema.get("root")


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON
    """Every place in it: an object or a list, with a key or an index."""
    for key, inner in holder.items() if isinstance(holder, dict) else enumerate(holder):
        yield holder, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
