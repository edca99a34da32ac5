"""Prepares Avro schemas for decoding: resolves names, puts in our logical-type readers, finds recursion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastavro

from worker.core.avro import render

_RECORDS = frozenset({"record", "error"})
_TYPES = _RECORDS | {
    *("null", "boolean", "int", "long", "float", "double", "bytes", "string"),
    *("fixed", "enum", "array", "map"),
}
_DEPTH_MAX = 100
"""Levels in a schema's text. fastavro recurses in C, and an absurd depth kills the process."""


class Undecodable(Exception):
    """The record cannot be decoded. The message says why, without any of its bytes or values."""


class InvalidSchema(ValueError):
    """What a registry or a file contains is not an Avro schema. The message says why."""


class AvroType:
    """One prepared schema: parsed by fastavro, with its named types in `names`.

    Args:
        schema: The schema as `json.loads` gives it. It must define every name that it uses.

    Raises:
        InvalidSchema: It is not a valid Avro schema.
    """

    def __init__(self, schema: object) -> None:
        self.names: dict[str, dict[str, Any]] = {}
        try:
            self.parsed: Any = fastavro.parse_schema(_prepared(schema, 0))
            self.root: Any = self.parsed
            self._collect(self.parsed)
        except InvalidSchema:
            raise
        except Exception as error:  # noqa: BLE001 - on odd schemas fastavro raises KeyError, TypeError and more
            raise InvalidSchema(f"not a valid Avro schema: {_shortened(error)}") from None
        self.recursive = self._is_recursive()

    def branches(self, schema: Any) -> Iterator[Any]:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """Every type that a schema allows, except null: a union's branches, with names resolved."""
        for branch in schema if isinstance(schema, list) else (schema,):
            resolved = self.resolve(branch)
            if kind_of(resolved) != "null":
                yield resolved

    def resolve(self, schema: Any) -> Any:  # noqa: ANN401 - as above
        """The definition behind a name; anything else as it is."""
        return self.names.get(kind_of(schema), schema)

    def _collect(self, schema: Any) -> None:  # noqa: ANN401 - as above
        for part in _parts(schema):
            self._collect(part)
        if isinstance(schema, dict) and "name" in schema:
            self.names[schema["name"]] = schema
        if is_record(schema):
            for field in schema["fields"]:
                if "default" in field:
                    # fastavro returns a reader's default as it is in the schema's JSON: a date as a number of days.
                    field["default"] = render.default_of(field["type"], field["default"])

    def _is_recursive(self) -> bool:
        """Whether a named type contains itself, directly or through others."""
        holds = {name: self._named_in(schema) for name, schema in self.names.items()}
        # Remove the types that contain none of the others, again and again. If any remain, they form a cycle.
        while ends := [name for name, held in holds.items() if not held]:
            for name in ends:
                del holds[name]
            for held in holds.values():
                held.difference_update(ends)
        return bool(holds)

    def _named_in(self, schema: Any) -> set[str]:  # noqa: ANN401 - as above
        """The named types directly inside one, by name or defined in place."""
        found: set[str] = set()
        for part in _parts(schema):
            name = part["name"] if isinstance(part, dict) and "name" in part else kind_of(part)
            found |= {name} if name in self.names else self._named_in(part)
        return found


def kind_of(schema: Any) -> str:  # noqa: ANN401 - as above
    """The schema's type by name: `record`, `union`, `long`, … and a named type's own name."""
    if isinstance(schema, list):
        return "union"
    return str(schema.get("type")) if isinstance(schema, dict) else str(schema)


def is_record(schema: Any) -> bool:  # noqa: ANN401 - as above
    """Whether the schema is a record's definition."""
    return kind_of(schema) in _RECORDS


def full_name(schema: object) -> str:
    """A named type's name with its namespace; empty for other types."""
    if not isinstance(schema, dict):
        return ""
    name = str(schema.get("name", ""))
    namespace = schema.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name


def _parts(schema: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
    """The schemas directly inside a schema."""
    if isinstance(schema, list):
        yield from schema
    elif isinstance(schema, dict):
        if is_record(schema):
            yield from (field["type"] for field in schema["fields"])
        elif "items" in schema:
            yield schema["items"]
        elif "values" in schema:
            yield schema["values"]


def _prepared(schema: Any, depth: int) -> Any:  # noqa: ANN401 - as above
    """A copy without fastavro's own keys, in which logical types name the readers of `render`."""
    if depth > _DEPTH_MAX:
        raise InvalidSchema(f"not a valid Avro schema: more than {_DEPTH_MAX} levels deep")
    if isinstance(schema, list):
        return [_prepared(branch, depth + 1) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if _is_wrapper(schema):
        return _prepared(schema.get("type"), depth + 1)
    copy = {key: value for key, value in schema.items() if not key.startswith("__")}
    for key in ("type", "items", "values"):
        if key in copy:
            copy[key] = _prepared(copy[key], depth + 1)
    if kind_of(copy) in _RECORDS:
        if not isinstance(copy.get("fields"), list):
            raise InvalidSchema("not a valid Avro schema: a record without a list of fields")
        copy["fields"] = [_prepared(field, depth + 1) for field in copy["fields"]]
    logical = copy.pop("logicalType", None)
    reader = render.logical_reader(copy, logical)
    if reader is not None:
        copy["logicalType"] = reader
    return copy


def _is_wrapper(schema: dict[str, Any]) -> bool:
    """Whether a schema is only `{"type": "a.Name"}` or `{"type": {…}}`, which some generators write.

    fastavro does not understand such a wrapper. A record's field looks the same, but has a name.
    """
    kind = schema.get("type")
    return "name" not in schema and (not isinstance(kind, str) or kind not in _TYPES)


def _shortened(error: Exception) -> str:
    """An error of fastavro on one line of bounded length. Its text is about the schema, never about a record."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text[:200]}" if text else name
