"""Prepares a schema's JSON for fastavro: checks what fastavro does not, and puts in our readers of logical types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.core.avro import render

RECORDS = frozenset({"record", "error"})
PRIMITIVE_NAMES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = RECORDS | {"enum", "fixed"}
_TYPES = _NAMED | PRIMITIVE_NAMES | {"array", "map"}
_OWN_WORDS = _TYPES | {"union", "error_union", "request"}
_MARK = "'"
"""Ends a type's name that is one of Avro's own words, as in a record called `record`. No valid name ends so.

fastavro looks a type up by one text, be it a word or a name, and would take that record's name for the word.
"""
_DEPTH_MAX = 100
"""Levels in a schema's text. fastavro recurses in C, and an absurd depth kills the process."""
_INNER = {"array": "items", "map": "values"}


class InvalidSchema(ValueError):
    """What a registry or a file contains is not an Avro schema. The message says why."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How to prepare a schema.

    Attributes:
        defaults: Whether to keep the fields' defaults. A writer's mean nothing to a reader, and may be invalid.

    Raises:
        InvalidSchema: By `schema`. A name, a size or a list of fields is none, or the schema is too deep.
    """

    defaults: bool = False

    def schema(self, schema: Any, namespace: object = "", depth: int = 0) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """A copy without fastavro's own keys, in which logical types name the readers of `render`."""
        if depth > _DEPTH_MAX:
            raise InvalidSchema(f"not a valid Avro schema: more than {_DEPTH_MAX} levels deep")
        if isinstance(schema, list):
            return [self.schema(branch, namespace, depth + 1) for branch in schema]
        if isinstance(schema, str):
            return schema if schema in PRIMITIVE_NAMES else _marked(schema, namespace)
        if not isinstance(schema, dict):
            raise InvalidSchema("not a valid Avro schema: a type is neither a text, an object nor a list")
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _TYPES:
            # `{"type": "a.Name"}` or `{"type": {…}}`, which some generators write. fastavro does not understand it.
            return self.schema(kind, namespace, depth + 1)
        copy = {key: value for key, value in schema.items() if not key.startswith("__")}
        if kind in _NAMED:
            namespace = self._name(copy, namespace)
        if kind in RECORDS:
            copy["fields"] = list(self._fields(copy, namespace, depth))
        elif kind in _INNER:
            inner = _INNER[kind]
            copy[inner] = self.schema(copy.get(inner), namespace, depth + 1)
        _put_reader(copy)
        return copy

    def _name(self, copy: dict[str, Any], namespace: object) -> object:
        """Checks a named type, and marks its name if that is one of Avro's words. Returns the namespace inside it."""
        name = copy.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidSchema("not a valid Avro schema: a record, enum or fixed without a name")
        own = copy.get("namespace", namespace)
        if own is not None and not isinstance(own, str):
            raise InvalidSchema("not a valid Avro schema: a namespace is not a text")
        if copy["type"] == "fixed" and not (type(copy.get("size")) is int and copy["size"] >= 0):
            raise InvalidSchema("not a valid Avro schema: the size of a fixed is not a whole number")
        if copy["type"] == "enum" and not isinstance(copy.get("symbols"), list):
            raise InvalidSchema("not a valid Avro schema: an enum without a list of symbols")
        copy["name"] = _marked(name, own)
        return name.rpartition(".")[0] if "." in name else own

    def _fields(self, record: dict[str, Any], namespace: object, depth: int) -> Iterator[dict[str, Any]]:
        fields = record.get("fields")
        if not isinstance(fields, list):
            raise InvalidSchema("not a valid Avro schema: a record without a list of fields")
        seen: set[str] = set()
        for field in fields:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                raise InvalidSchema("not a valid Avro schema: a field without a name")
            if field["name"] in seen:
                raise InvalidSchema("not a valid Avro schema: two fields of a record have the same name")
            seen.add(field["name"])
            aliases = field.get("aliases", [])
            if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
                raise InvalidSchema("not a valid Avro schema: a field's aliases are not a list of texts")
            dropped = () if self.defaults else ("default",)
            copy = {key: value for key, value in field.items() if key not in dropped}
            copy["type"] = self.schema(_typed(field), namespace, depth + 1)
            yield copy


def plain_name(named: dict[str, Any]) -> str:
    """The name of a prepared type as people know it, without its namespace."""
    return str(named["name"]).rpartition(".")[2].removesuffix(_MARK)


def _put_reader(copy: dict[str, Any]) -> None:
    """Replaces the logical type by the name of its reader in `render`, or removes it."""
    reader = render.logical_reader(copy, copy.pop("logicalType", None))
    if reader is not None:
        copy["logicalType"] = reader


def _marked(name: str, namespace: object) -> str:
    return name + _MARK if name in _OWN_WORDS and not namespace else name


def _typed(field: dict[str, Any]) -> object:
    """A field's type. What Kafka Connect calls it is mostly in the type, but may be beside it."""
    kind, connect = field.get("type"), field.get("connect.name")
    if connect is None:
        return kind
    told: dict[str, Any] = {key: field[key] for key in ("connect.name", "connect.parameters") if key in field}

    def named(branch: object) -> object:
        own = branch if isinstance(branch, dict) else {"type": branch}
        return {**told, **own} if isinstance(own.get("type"), str) and own["type"] in PRIMITIVE_NAMES else branch

    return [named(branch) for branch in kind] if isinstance(kind, list) else named(kind)
