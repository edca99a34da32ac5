"""Avro schemas, ready for decoding: types linked, our readers of logical types put in, recursion found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from worker.core.avro.defaults import converted
from worker.core.avro.linking import RECORDS, InvalidSchema, linked
from worker.core.avro.preparation import Preparation

__all__ = ["AvroType", "InvalidSchema", "Undecodable", "full_name", "is_record", "kind_of"]


class Undecodable(Exception):
    """The record cannot be decoded. The message says why, without any of its bytes or values."""


class AvroType:
    """One prepared schema: linked, with its named types in `names`.

    Args:
        schema: The schema as `json.loads` gives it. It must define every name that it uses. An `InvalidSchema` in its
            place says why there is none.
        defaults: Whether records are resolved to this schema, so that its defaults become values. Those of a writer's
            schema mean nothing to a reader: they are left out, and may be invalid.

    Raises:
        InvalidSchema: It is not a valid Avro schema.
    """

    def __init__(self, schema: object, *, defaults: bool = False) -> None:
        if isinstance(schema, InvalidSchema):
            raise schema
        self.names: dict[str, dict[str, Any]] = {}
        self.parts = 0
        """How many types, fields and symbols it has."""
        try:
            self.root: Any = Preparation(defaults=defaults).schema(linked(schema))
            self._collect(self.root)
            self._convert_defaults()
            self.recursive = self._is_recursive()
        except InvalidSchema:
            raise
        except Exception as error:  # noqa: BLE001 - no schema, however odd, may end the process
            raise InvalidSchema(type(error).__name__) from None

    @cached_property
    def parsed(self) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """The schema as fastavro's own parser would give it. That one refuses symbols and names that Java takes."""

        def marked(schema: Any) -> Any:  # noqa: ANN401 - as above
            known = {"__fastavro_parsed": True, "__named_schemas": self.names}
            return schema | known if isinstance(schema, dict) else schema

        return [marked(branch) for branch in self.root] if isinstance(self.root, list) else marked(self.root)

    def branches(self, schema: Any) -> Iterator[Any]:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """Every type that a schema allows, except null: a union's branches, with names resolved."""
        for branch in schema if isinstance(schema, list) else (schema,):
            resolved = self.resolve(branch)
            if kind_of(resolved) != "null":
                yield resolved

    def resolve(self, schema: Any) -> Any:  # noqa: ANN401 - as above
        """The definition behind a name; anything else as it is."""
        return self.names.get(schema, schema) if isinstance(schema, str) else schema

    def _collect(self, schema: Any) -> None:  # noqa: ANN401 - as above
        self.parts += 1 + (len(schema["symbols"]) if kind_of(schema) == "enum" and isinstance(schema, dict) else 0)
        for part in _parts(schema):
            self._collect(part)
        if isinstance(schema, dict) and "name" in schema:  # Preparation leaves it to named types
            self.names[schema["name"]] = schema

    def _convert_defaults(self) -> None:
        """Makes values of the defaults: fastavro returns them as they are in the JSON, a date as a number of days."""
        fields = [field for schema in self.names.values() if is_record(schema) for field in schema["fields"]]
        values = [converted(self.resolve, field["type"], field["default"]) for field in fields if "default" in field]
        # Only now: the default of a record takes those of its fields as they are in the JSON.
        for field, value in zip((field for field in fields if "default" in field), values, strict=True):
            field["default"] = value

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
            name = part.get("name") if isinstance(part, dict) else part
            found |= {name} if isinstance(name, str) and name in self.names else self._named_in(part)
        return found


def kind_of(schema: Any) -> str:  # noqa: ANN401 - as above
    """The schema's type by name: `record`, `union`, `long`, … and a named type's own name."""
    if isinstance(schema, list):
        return "union"
    return str(schema.get("type")) if isinstance(schema, dict) else str(schema)


def is_record(schema: Any) -> bool:  # noqa: ANN401 - as above
    """Whether the schema is a record's definition."""
    return isinstance(schema, dict) and schema.get("type") in RECORDS


def full_name(schema: object) -> str:
    """A named type's name with its namespace; empty for other types."""
    if not isinstance(schema, dict):
        return ""
    name = str(schema.get("name", ""))
    namespace = schema.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name.removeprefix(".")


def _parts(schema: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
    """The schemas directly inside a schema."""
    if isinstance(schema, list):
        yield from schema
    elif isinstance(schema, dict):
        if is_record(schema):
            yield from (field["type"] for field in schema["fields"])
        elif kind_of(schema) == "array":
            yield schema["items"]
        elif kind_of(schema) == "map":
            yield schema["values"]
