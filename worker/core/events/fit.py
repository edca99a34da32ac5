"""Whether a mapping fits a schema, told before a record is read."""

from __future__ import annotations

from collections.abc import Iterator

from worker.core.avro.schema import kind_of
from worker.core.events.mapping import Mapping, Shape, alternatives, find

_IDENTIFIERS = ("phone", "email", "client_user_id", "custom_identifiers")
_READABLE = frozenset({"string", "enum", "int", "long", "float", "double"})
_READABLE_LOGICAL = frozenset({"decimal", "big-decimal", "uuid", "variable-scale-decimal"})


def absent(mapping: Mapping, shape: Shape) -> tuple[str, ...]:
    """The mapping's paths that a record lacks, as `setting: path`. Not those into a key of unknown shape."""
    unknown = shape.key is None
    return tuple(
        f"{name}: {path}"
        for name, path in mapping.paths()
        if not find(shape, path) and not (unknown and any(parts[:1] == ("key",) for parts in alternatives(path)))
    )


def no_identifiers(mapping: Mapping, shape: Shape) -> tuple[str, ...]:
    """The paths of identifiers that lead to what can be neither text nor a whole number, as `setting: path`."""
    return tuple(_no_identifiers(mapping, shape))


def _no_identifiers(mapping: Mapping, shape: Shape) -> Iterator[str]:
    for setting in _IDENTIFIERS:
        for label, path in mapping.labelled(setting):
            types = [schema for one in find(shape, path) for schema in one.types]
            is_list = setting == "custom_identifiers" and not label
            if types and not is_list and not any(map(_may_be_identifier, types)):
                yield f"{setting}: {path}"


def _may_be_identifier(schema: object) -> bool:
    logical = str(schema.get("logicalType", "")).rpartition(".")[2] if isinstance(schema, dict) else ""
    return logical in _READABLE_LOGICAL if logical else kind_of(schema) in _READABLE
