"""Prepares a linked schema for reading: checks it, puts in our readers of logical types, drops what means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.core.avro import render
from worker.core.avro.linking import INNER, PRIMITIVE_NAMES, RECORDS, InvalidSchema


@dataclass(frozen=True, slots=True)
class Preparation:
    """How to prepare a schema.

    Attributes:
        defaults: Whether to keep the defaults of fields and enums. A writer's mean nothing to a reader, and may be
            invalid.

    Raises:
        InvalidSchema: By `schema`. A size, a symbol, a field or an alias is none.
    """

    defaults: bool = False

    def schema(self, schema: Any) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """A copy of a linked schema, without fastavro's keys, in which logical types name the readers of `render`."""
        if isinstance(schema, list):
            return [self.schema(branch) for branch in schema]
        if not isinstance(schema, dict):
            return schema
        kind = schema["type"]
        copy = {key: value for key, value in schema.items() if not key.startswith("__")}
        if kind in RECORDS:
            copy["fields"] = list(self._fields(copy))
        elif kind in INNER:
            copy[INNER[kind]] = self.schema(copy[INNER[kind]])
        elif kind == "enum":
            self._check_symbols(copy)
        elif kind == "fixed":
            if not (type(copy.get("size")) is int and copy["size"] >= 0):
                raise InvalidSchema("the size of a fixed is not a whole number")
        else:
            copy.pop("name", None)
        _put_reader(copy)
        return copy

    def _check_symbols(self, enum: dict[str, Any]) -> None:
        """Any text may be a symbol, since some writers do not check them. But a record may have to be sent with it."""
        symbols = enum.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) and _is_utf8(symbol) for symbol in symbols):
            raise InvalidSchema("an enum without a list of symbols")
        if len(set(symbols)) < len(symbols):
            raise InvalidSchema("two symbols of an enum are the same")
        default = enum.pop("default", None)
        if self.defaults and isinstance(default, str):
            if default not in symbols:
                raise InvalidSchema("the default of an enum is not one of its symbols")
            enum["default"] = default

    def _fields(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        for field in record["fields"]:
            if not isinstance(field.get("name"), str):
                raise InvalidSchema("a field without a name")
            if field["name"] in seen:
                raise InvalidSchema("two fields of a record have the same name")
            seen.add(field["name"])
            aliases = field.get("aliases", [])
            if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
                raise InvalidSchema("a field's aliases are not a list of texts")
            dropped = () if self.defaults else ("default",)
            copy = {key: value for key, value in field.items() if key not in dropped}
            copy["type"] = self.schema(_typed(field))
            yield copy


def plain_name(named: dict[str, Any]) -> str:
    """The name of a prepared type as people know it, without its namespace."""
    return str(named["name"]).rpartition(".")[2]


def _put_reader(copy: dict[str, Any]) -> None:
    """Replaces the logical type by the name of its reader in `render`, or removes it."""
    reader = render.logical_reader(copy, copy.pop("logicalType", None))
    if reader is not None:
        copy["logicalType"] = reader


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
