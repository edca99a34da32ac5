"""Values of a reader schema's defaults, from their form in the schema's JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import fastavro.read

from worker.core.avro.linking import InvalidSchema

Resolve: TypeAlias = Callable[[Any], Any]
"""From a type's name to its definition; any other schema comes back as it is."""

_JSON_KINDS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    **dict.fromkeys(("int", "long"), (int,)),
    **dict.fromkeys(("float", "double"), (int, float)),
    **dict.fromkeys(("string", "bytes", "fixed", "enum"), (str,)),
    **dict.fromkeys(("record", "error", "map"), (dict,)),
    "array": (list,),
}
"""By Avro type, the types of JSON that its default may have."""


def converted(resolve: Resolve, schema: Any, default: object) -> object:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """A default, converted like a value in a record, also inside records, maps and arrays.

    Raises:
        InvalidSchema: It does not fit its type.
    """
    schema = resolve(schema)
    if isinstance(schema, list):
        # Up to Avro 1.11 a union's default belongs to its first branch, later to any.
        branch = next((branch for branch in schema if _fits(resolve, branch, default)), None)
        if branch is None:
            raise InvalidSchema("a default fits no branch of its union")
        return converted(resolve, branch, default)
    if not _fits(resolve, schema, default):
        raise InvalidSchema("a default does not fit its type")
    value = _plain(resolve, schema, default)
    if isinstance(schema, dict) and "logicalType" in schema:
        return fastavro.read.LOGICAL_READERS[f"{schema['type']}-{schema['logicalType']}"](value, schema, None)
    return value


def _kind(schema: Any) -> str:  # noqa: ANN401 - as above
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _fits(resolve: Resolve, schema: Any, default: object) -> bool:  # noqa: ANN401 - as above
    return type(default) in _JSON_KINDS.get(_kind(resolve(schema)), ())


def _plain(resolve: Resolve, schema: Any, default: Any) -> object:  # noqa: ANN401 - as above; a default is any JSON
    kind = _kind(schema)
    if kind in {"record", "error"}:
        return {field["name"]: _of_field(resolve, field, default) for field in schema["fields"]}
    if kind == "map":
        return {_text(key): converted(resolve, schema["values"], value) for key, value in default.items()}
    if kind == "array":
        return [converted(resolve, schema["items"], value) for value in default]
    if kind in {"bytes", "fixed"}:
        return default.encode("latin-1")
    if kind in {"float", "double"}:
        return float(default)
    return _text(default) if kind in {"string", "enum"} else default


def _of_field(resolve: Resolve, field: dict[str, Any], default: dict[str, Any]) -> object:
    if field["name"] not in default and "default" not in field:
        raise InvalidSchema("the default of a record lacks a field")
    return converted(resolve, field["type"], default.get(field["name"], field.get("default")))


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSchema("a default holds a lone surrogate") from None
    return text
