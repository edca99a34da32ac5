"""Makes random schemas, most of which Java's Avro takes: what it judges is how types are named, used and annotated."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

_NAMES = ("A", "B", "Row", "record", "enum", "Größe", "_x")
_SYMBOLS = ("A", "record", "null", "Größe", "尺寸", "_")
_SPACES = ("", "n", "n.m", "crm.v1")
_FIELDS = ("type", "name", "fields", "items", "null", "a", "straße", "c2")
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL = (
    ("int", "date"), ("int", "time-millis"), ("long", "time-micros"), ("long", "timestamp-millis"),
    ("long", "timestamp-micros"), ("long", "timestamp-nanos"), ("long", "local-timestamp-millis"),
    ("long", "local-timestamp-micros"), ("long", "local-timestamp-nanos"), ("bytes", "decimal"), ("bytes", "decimal"),
    ("string", "uuid"), ("bytes", "big-decimal"), ("int", "no such type"), ("string", "date"), ("long", 7),
)  # fmt: skip
_ODD_NUMBERS = (0, 1, 2, 5, 9, -1, 40, True, "2", 4.0, None)
_PROPERTIES: tuple[dict[str, Any], ...] = (
    {"doc": 7}, {"doc": {"a": []}}, {"aliases": ["Old", "m.Old"]}, {"order": "ignore"}, {"order": "DESCENDING"},
    {"namespace": "zz"}, {"logicalType": "date"}, {"default": None}, {"x": [1, 2.5]},
)  # fmt: skip
_DEEP = 4


class Maker:
    """Makes schemas that may use each other's types.

    Args:
        rng: Where the randomness comes from.
        names: What types may be called. Of few names, several types have the same, in different namespaces.
        symbols: What enums may hold; at least three.

    Example:
        maker = Maker(random.Random(7))
        references, root = [maker.record()], maker.record()
    """

    def __init__(self, rng: random.Random, names: Sequence[str] = _NAMES, symbols: Sequence[str] = _SYMBOLS) -> None:
        self._rng = rng
        self._names = names
        self._symbols = symbols
        self._made: list[tuple[str, str, dict[str, Any]]] = []  # namespace, name and definition

    def row(self) -> dict[str, Any]:
        """A record with a text `id`, and a map `values` of anything."""
        row = self.record()
        anything = self._union(1, next(space for space, _, made in self._made if made is row))
        row["fields"] = [
            {"name": "id", "type": "string"},
            *(field for field in row["fields"] if field["name"] not in {"id", "values"}),
            {"name": "values", "type": {"type": "map", "values": anything}},
        ]
        return row

    def record(self, depth: int = 0, namespace: str = "") -> dict[str, Any]:
        """A record's definition."""
        rng = self._rng
        schema, inside = self._named({"type": rng.choice(("record", "record", "error"))}, namespace)
        names = rng.sample(_FIELDS, rng.randint(0, 3))
        schema["fields"] = [{"name": name, "type": self._type(depth + 1, inside)} | self._extra() for name in names]
        return schema

    def _type(self, depth: int, namespace: str) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
        rng = self._rng
        makers: list[Callable[[int, str], Any]] = [self._primitive, self._logical, self._logical]
        if depth <= _DEEP:
            makers += [self._enum, self._fixed, self._used, self._used, self._repeated]
            makers += [self._array, self._map, self._union, self.record]
        return rng.choice(makers)(depth, namespace)

    def _named(self, schema: dict[str, Any], namespace: str) -> tuple[dict[str, Any], str]:
        """The definition under a name, and the namespace inside it. Mostly the name is free."""
        rng = self._rng
        taken = {made[:2] for made in self._made}
        tried = ((rng.choice((namespace, *_SPACES)), rng.choice(self._names)) for _ in range(9))
        inside, name = next((one for one in tried if one not in taken), ("", "A"))
        if inside and rng.random() < 0.4:
            schema["name"] = f"{inside}.{name}"
        else:
            schema["name"] = name
            if inside != namespace or rng.random() < 0.2:
                schema["namespace"] = inside
        schema |= self._extra()
        if "namespace" in schema:
            inside = inside if "." in schema["name"] else schema["namespace"]
        self._made.append((inside, name, schema))
        return schema, inside

    def _used(self, _depth: int, namespace: str) -> Any:  # noqa: ANN401 - as above
        """A type's name, alone if the type may stand there: in a union with null or an array, it may be around us."""
        rng = self._rng
        if self._made and rng.random() < 0.9:
            space, name, _ = rng.choice(self._made)
            full = f"{space}.{name}" if space else name
            used = name if space == namespace and rng.random() < 0.5 else full
        else:
            used = rng.choice(self._names)  # perhaps it is defined later
        return rng.choice((["null", used], {"type": "array", "items": used}))

    def _repeated(self, depth: int, namespace: str) -> Any:  # noqa: ANN401 - as above
        """A definition once more."""
        whole = [made for made in self._made if made[2].keys() & {"symbols", "size"}]
        if not whole:
            return self._primitive(depth, namespace)
        space, name, definition = self._rng.choice(whole)
        return copy.deepcopy(definition) | {"name": name, "namespace": space}

    def _primitive(self, _depth: int, _namespace: str) -> Any:  # noqa: ANN401 - as above
        return self._rng.choice(_PRIMITIVES)

    def _logical(self, _depth: int, _namespace: str) -> dict[str, Any]:
        rng = self._rng
        kind, logical = rng.choice(_LOGICAL)
        schema: dict[str, Any] = {"type": kind, "logicalType": logical}
        return schema | (self._digits() if logical == "decimal" else {})

    def _digits(self) -> dict[str, Any]:
        rng = self._rng
        if rng.random() < 0.5:
            return {"precision": 20, "scale": rng.randint(0, 20)}
        odd = {"precision": rng.choice(_ODD_NUMBERS), "scale": rng.choice(_ODD_NUMBERS)}
        return {key: value for key, value in odd.items() if rng.random() < 0.8}

    def _enum(self, _depth: int, namespace: str) -> dict[str, Any]:
        symbols = self._rng.sample(self._symbols, 3)
        return self._named({"type": "enum", "symbols": symbols}, namespace)[0]

    def _fixed(self, _depth: int, namespace: str) -> dict[str, Any]:
        rng = self._rng
        schema: dict[str, Any] = {"type": "fixed", "size": rng.choice((0, 1, 5, 12, 16))}
        logical = rng.choice(("uuid", "decimal", "duration", "date"))
        schema |= {"logicalType": logical} | (self._digits() if logical == "decimal" else {})
        return self._named(schema, namespace)[0]

    def _array(self, depth: int, namespace: str) -> dict[str, Any]:
        return {"type": "array", "items": self._type(depth + 1, namespace)}

    def _map(self, depth: int, namespace: str) -> dict[str, Any]:
        return {"type": "map", "values": self._type(depth + 1, namespace)}

    def _union(self, depth: int, namespace: str) -> list[Any]:
        """Null, and types that differ as Avro wants it."""
        branches: dict[str, Any] = {"null": "null"}
        for _ in range(self._rng.randint(1, 4)):
            branch = self._type(depth + 1, namespace)
            if not isinstance(branch, list):
                kind = branch["type"] if isinstance(branch, dict) else branch
                branches.setdefault(kind, branch)
        return list(branches.values())

    def _extra(self) -> dict[str, Any]:
        return copy.deepcopy(self._rng.choice(_PROPERTIES)) if self._rng.random() < 0.2 else {}
