"""Finds the types behind a schema's names, as Java's Avro does, and puts each definition where it is first used.

A text may use a type before it defines it, define it twice in the same way, leave out namespaces, and rely on types in
other texts: the referenced subjects of a registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RECORDS = frozenset({"record", "error"})
PRIMITIVE_NAMES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
INNER = {"array": "items", "map": "values"}
_NAMED = RECORDS | {"enum", "fixed"}
_TYPES = _NAMED | PRIMITIVE_NAMES | INNER.keys()
_MEANINGLESS = frozenset({"doc", "aliases", "default", "order"})
"""Keys in which two definitions of one type may differ."""
_DEPTH_MAX = 100
"""Levels in a schema's text. fastavro recurses in C, and an absurd depth kills the process."""
_SHOWN_MAX = 100


class InvalidSchema(ValueError):
    """What a registry or a file contains is not an Avro schema. The message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not a valid Avro schema: {why}")


def linked(schema: object, references: Iterable[object] = ()) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """The schema with all its types defined inside, each where it is first used.

    A type's name there is its full name, with a dot in front of one without a namespace: `crm.User`, `.User`. So none
    can be taken for one of Avro's own words, as in a record called `record`, or for a name in the namespace around it.

    Args:
        schema: As `json.loads` gives it; or linked already.
        references: Schemas whose types it may use. Each may use those of the ones before it.

    Raises:
        InvalidSchema: It cannot be put together.
    """
    links = _Links()
    for reference in references:
        links.copy(reference)
    root = links.copy(schema)
    links.check_repetitions()
    return links.laid_out(root)


@dataclass(frozen=True, slots=True)
class _Use:
    """A place where a named type is used: the names that it may have, the likeliest first."""

    names: tuple[str, ...]


class _Links:
    """The named types of some schemas. Their copies have a `_Use` in place of each named type."""

    def __init__(self) -> None:
        self._definitions: dict[str, dict[str, Any]] = {}
        self._repetitions: list[tuple[str, dict[str, Any]]] = []
        self._laid_out: set[str] = set()

    def copy(self, schema: Any, namespace: str = "", depth: int = 0, *, in_union: bool = False) -> Any:  # noqa: ANN401 - as above
        """The schema with all of its definitions taken out."""
        _check_depth(depth)
        if isinstance(schema, str):
            return schema if schema in PRIMITIVE_NAMES else self._use(schema, namespace)
        if isinstance(schema, list):
            if in_union:
                raise InvalidSchema("a union directly in a union")
            return [self.copy(branch, namespace, depth + 1, in_union=True) for branch in schema]
        if not isinstance(schema, dict):
            raise InvalidSchema("a type is neither a text, an object nor a list")
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _TYPES:
            # `{"type": "a.Name"}` or `{"type": {…}}`, which some generators write.
            return self.copy(kind, namespace, depth + 1, in_union=in_union)
        if kind in _NAMED:
            return self._define(schema, namespace, depth)
        inner = INNER.get(kind)
        return dict(schema) if inner is None else schema | {inner: self.copy(schema.get(inner), namespace, depth + 1)}

    def check_repetitions(self) -> None:
        """Checks that types which are defined more than once are the same each time."""
        for name, repetition in self._repetitions:
            if self._meaning(repetition) != self._meaning(self._definitions[name]):
                raise InvalidSchema(f"{_shown(name)} is defined twice, in different ways")

    def laid_out(self, copy: Any, depth: int = 0) -> Any:  # noqa: ANN401 - as above
        """The copy with each type defined where it is first used."""
        _check_depth(depth)
        if isinstance(copy, _Use):
            name = self._found(copy)
            if name in self._laid_out:
                return name
            self._laid_out.add(name)
            copy = self._definitions[name]
        if isinstance(copy, list):
            return [self.laid_out(branch, depth + 1) for branch in copy]
        if not isinstance(copy, dict):
            return copy
        if copy["type"] in RECORDS:
            fields = [field | {"type": self.laid_out(field["type"], depth + 1)} for field in copy["fields"]]
            return copy | {"fields": fields}
        inner = INNER.get(copy["type"])
        return copy if inner is None else copy | {inner: self.laid_out(copy[inner], depth + 1)}

    def _define(self, schema: dict[str, Any], outer: str, depth: int) -> _Use:
        name, namespace = _full_name(schema, outer)
        definition = {key: value for key, value in schema.items() if key != "namespace"} | {"name": name}
        if schema["type"] in RECORDS:
            definition["fields"] = [
                field | {"type": self.copy(field.get("type"), namespace, depth + 1)} for field in _fields(schema)
            ]
        if name in self._definitions:
            self._repetitions.append((name, definition))
        else:
            self._definitions[name] = definition
        return _Use((name,))

    def _use(self, name: str, namespace: str) -> _Use:
        """By the types known so far; a record is known at its end. A name that is none of them may be defined later."""
        names = (name,) if "." in name else (f"{namespace}.{name}", f".{name}")
        return _Use(next(((one,) for one in names if one in self._definitions), names))

    def _found(self, use: _Use) -> str:
        found = next((name for name in use.names if name in self._definitions), None)
        if found is None:
            raise InvalidSchema(f"there is no type {_shown(use.names[0])}")
        return found

    def _meaning(self, part: Any) -> Any:  # noqa: ANN401 - any JSON, and uses
        """What counts of a definition: all but the definitions inside it, which count for themselves."""
        if isinstance(part, _Use):
            return self._found(part)
        if isinstance(part, list):
            return [self._meaning(one) for one in part]
        if isinstance(part, dict):
            return {key: self._meaning(value) for key, value in part.items() if key not in _MEANINGLESS}
        return part


def _fields(record: dict[str, Any]) -> list[dict[str, Any]]:
    fields = record.get("fields")
    if not isinstance(fields, list):
        raise InvalidSchema("a record without a list of fields")
    if not all(isinstance(field, dict) for field in fields):
        raise InvalidSchema("a field is not an object")
    return fields


def _full_name(schema: dict[str, Any], outer: str) -> tuple[str, str]:
    """A named type's full name, and the namespace for the names inside it."""
    name, own = schema.get("name"), schema.get("namespace")
    if not isinstance(name, str) or not name.rpartition(".")[2]:
        raise InvalidSchema("a record, enum or fixed without a name")
    if "." in name:
        namespace, _, name = name.rpartition(".")
    else:
        namespace = own if isinstance(own, str) else outer
    return f"{namespace}.{name}", namespace


def _check_depth(depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise InvalidSchema(f"more than {_DEPTH_MAX} levels deep")


def _shown(name: str) -> str:
    shown = name.removeprefix(".")
    shown = shown if shown.isprintable() else ascii(shown)
    return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}…"
