"""Whether a mapping fits a schema, told before a record is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from worker.core.avro.schema import kind_of
from worker.core.events.mapping import Mapping, Shape, alternatives, find

_IDENTIFIERS = ("phone", "email", "client_user_id", "custom_identifiers")
_READABLE = frozenset({"string", "enum", "int", "long", "float", "double"})
_NEVER_TIMES = frozenset({"record", "error", "array", "map", "boolean", "bytes", "fixed", "enum", "float", "double"})
_NEVER_TIMES_LOGICAL = frozenset({"date", "time-millis", "time-micros"})
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


def unfit(mapping: Mapping, shape: Shape) -> tuple[str, ...]:
    """What is wrong with the paths of time and event id, where they lead to what can be none. The records go on so."""
    found = []
    if _leads_only_to(mapping.occurred_at, shape, _is_never_time):
        found.append(f"occurred_at: {mapping.occurred_at} can be no time")
    if _leads_only_to(mapping.event_id, shape, lambda schema: not _may_be_identifier(schema)):
        found.append(f"event_id: {mapping.event_id} can be neither text nor a whole number")
    return tuple(found)


def _leads_only_to(path: str, shape: Shape, unwanted: Callable[[object], bool]) -> bool:
    types = [schema for one in find(shape, path) for schema in one.types] if path else []
    return bool(types) and all(map(unwanted, types))


def _is_never_time(schema: object) -> bool:
    return kind_of(schema) in _NEVER_TIMES or _logical(schema) in _NEVER_TIMES_LOGICAL


def _no_identifiers(mapping: Mapping, shape: Shape) -> Iterator[str]:
    for setting in _IDENTIFIERS:
        for label, path in mapping.labelled(setting):
            types = [schema for one in find(shape, path) for schema in one.types]
            is_list = setting == "custom_identifiers" and not label
            if types and not is_list and not any(map(_may_be_identifier, types)):
                yield f"{setting}: {path}"


def _may_be_identifier(schema: object) -> bool:
    logical = _logical(schema)
    return logical in _READABLE_LOGICAL if logical else kind_of(schema) in _READABLE


def _logical(schema: object) -> str:
    return str(schema.get("logicalType", "")).rpartition(".")[2] if isinstance(schema, dict) else ""
