"""From the fields of a user's own schema to an event: paths, compiled once per writer schema.

A path names a field by dots: `user.phone`. Each part matches a field's name, or an alias that the field declares, so
that a producer's renaming with an alias keeps a mapping working; inside a map it is the key. Alternatives are
separated by `|`, and the first that is present is taken. A path that a schema lacks is absent, not an error: schemas
evolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from worker.core.avro.schema import AvroType, is_record, kind_of

_PATHS = (
    "phone", "email", "client_user_id", "custom_identifiers",
    "attributes", "occurred_at", "event_id", "ignore_when_null",
)  # fmt: skip
Keys: TypeAlias = tuple[str, ...]
"""The way into a decoded record: field names, and keys of maps."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which fields of the user's schema mean what. An empty path: there is no such field.

    Attributes:
        phone, email, client_user_id: Paths of text or whole numbers.
        custom_identifiers: The path of an array of {name, value} records or of a map, or comma-separated `name=path`
            pairs: `loyalty_id=after.loyalty_number,crm=after.crm_id`.
        attributes: The path of a map (each entry) or of a record (each scalar field); `*` is the record itself, and
            `after.*` the same as `after`. Of a record, those fields are left out that this mapping uses otherwise, and
            those that can never be scalar: records, arrays, maps, bytes.
        occurred_at: A timestamp, a whole number of milliseconds since 1970, or ISO 8601 text.
        event_id: Text or a whole number.
        exclude: Name patterns (`*`, `?`, `[…]`; case counts) of attributes to leave out, as the schema names them.
        prefix: Put before each attribute's name, except those that `rename` names.
        rename: Attribute names as the schema has them, to names as the destination has them.
        ignore_when_null: Where this path is null the record is passed over, such as `after` for a CDC delete.

    Raises:
        ValueError: A path is malformed; says which.
    """

    phone: str = "user.phone"
    email: str = "user.email"
    client_user_id: str = "user.client_user_id"
    custom_identifiers: str = "user.custom_identifiers"
    attributes: str = "attributes"
    occurred_at: str = "occurred_at"
    event_id: str = "event_id"
    exclude: tuple[str, ...] = ()
    prefix: str = ""
    rename: AbstractMapping[str, str] = field(default_factory=dict)
    ignore_when_null: str = ""

    def __post_init__(self) -> None:
        for name in _PATHS:
            for label, path in self.labelled(name):
                _check(f"{name} {label}".strip(), path, star=name == "attributes")
        targets = list(self.rename.values())
        if len(set(targets)) < len(targets):
            raise ValueError("rename: two attributes have the same new name")
        if not all(targets):
            raise ValueError("rename: a new name is empty; to leave an attribute out, use exclude")

    def labelled(self, name: str) -> Iterator[tuple[str, str]]:
        """The paths of one setting, each with its own name where it is a `name=path` pair, else with an empty one."""
        value: str = getattr(self, name)
        if name == "custom_identifiers" and "=" in value:
            for pair in value.split(","):
                label, _, path = pair.partition("=")
                yield label.strip(), path.strip()
        elif value.strip():
            yield "", value.strip()

    def paths(self) -> Iterator[tuple[str, str]]:
        """Every path in use, with the name of its setting."""
        for name in _PATHS:
            for _, path in self.labelled(name):
                yield name, path


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads in one schema, and the types that may lie there (null left out)."""

    keys: Keys
    types: tuple[Any, ...]


def alternatives(path: str) -> Iterator[Keys]:
    """A path's alternatives in order, each as its parts; the last `*` of an attribute path is left out."""
    for alternative in path.split("|"):
        parts = tuple(part.strip() for part in alternative.split("."))
        yield parts[:-1] if parts[-1] == "*" else parts


def find(avro: AvroType, path: str) -> list[Found]:
    """Everywhere that a path leads in a schema: none where the schema lacks it, several by alternatives and unions."""
    found: dict[Keys, list[Any]] = {}
    for parts in alternatives(path):
        ways: dict[Keys, list[Any]] = {(): list(avro.branches(avro.root))}
        for part in parts:
            ways = _step(avro, ways, part)
        found |= ways
    return [Found(keys, tuple(types)) for keys, types in found.items()]


def absent(mapping: Mapping, avro: AvroType) -> tuple[str, ...]:
    """The mapped paths that a schema lacks, as `setting: path`."""
    return tuple(f"{name}: {path}" for name, path in mapping.paths() if not find(avro, path))


def names_of(declared: dict[str, Any]) -> Iterator[str]:
    """A field's name, then its aliases."""
    yield declared["name"]
    yield from declared.get("aliases", ())


def _step(avro: AvroType, ways: dict[Keys, list[Any]], part: str) -> dict[Keys, list[Any]]:
    onward: dict[Keys, list[Any]] = {}
    for keys, types in ways.items():
        for schema in types:
            if is_record(schema):
                declared = _field(schema, part)
                if declared is not None:
                    onward.setdefault((*keys, declared["name"]), []).extend(avro.branches(declared["type"]))
            elif kind_of(schema) == "map":
                onward.setdefault((*keys, part), []).extend(avro.branches(schema["values"]))
    return onward


def _field(record: dict[str, Any], name: str) -> dict[str, Any] | None:
    for wanted in (lambda declared: declared["name"] == name, lambda declared: name in declared.get("aliases", ())):
        for declared in record["fields"]:
            if wanted(declared):
                return dict(declared)
    return None


def _check(setting: str, path: str, *, star: bool) -> None:
    if not path:
        raise ValueError(f"{setting}: the path is empty; leave the pair out, or write name=path")
    for alternative in path.split("|"):
        parts = [part.strip() for part in alternative.split(".")]
        if not all(parts):
            raise ValueError(
                f"{setting}: {path!r} has an empty part; write field names with dots between, as user.phone"
            )
        if "*" in (parts[:-1] if star else parts):
            raise ValueError(
                f"{setting}: {path!r} has a * where none can stand; it ends the attributes path, as after.*"
            )
