"""Which fields of a user's own schema make an event: paths, looked up once per writer schema.

A path names a field by dots: `user.phone`. Each part is a field's name or one of its aliases, so that a mapping still
works after a producer renames a field with an alias. Inside a map, a part is the key; an array of records with the
fields `key` and `value` is a map, too. `|` separates alternatives: the first one present counts. A path that a schema
lacks is absent, not an error: schemas evolve.

A path that begins with `key` leads into the Kafka key: `key.id` is its field, `key` alone the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from worker.core.avro.preparation import plain_name
from worker.core.avro.schema import AvroType, full_name, is_record, kind_of

_PAIRS = ("custom_identifiers", "attributes")
_ENTRY, _ENTRY_KEYS = {"key", "value"}, {"string", "int", "long", "enum"}
_PATHS = (
    "phone", "email", "client_user_id", "custom_identifiers",
    "attributes", "occurred_at", "event_id", "ignore_when_null", "ignore_when",
)  # fmt: skip
KEY = "key."
"""Where a decoded record holds its Kafka key. No field of a record is called so."""
LEFT_OUT = "attribute-worker.left-out"
"""A field's property in a schema: the field is decoded, but neither sent nor found by a path."""
Keys: TypeAlias = tuple[str, ...]
"""The steps into a decoded record: field names, and keys of maps."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which fields of the user's schema mean what. An empty path means that there is no such field.

    For a CDC topic whose records have the row under `after`:

        Mapping(
            phone="after.mobile|after.landline",
            email="after.email",
            custom_identifiers="loyalty_id=after.loyalty_number",
            attributes="after.*",
            rename={"favourite_shop": "Favourite shop"},
            ignore_when_null="after",  # a delete
        )

    Attributes:
        phone, email, client_user_id: Paths of text or whole numbers.
        custom_identifiers: The path of an array of {name, value} records or of a map, or comma-separated `name=path`
            pairs: `loyalty_id=after.loyalty_number,crm=after.crm_id`.
        attributes: Comma-separated paths: of a map (each entry), of a record (each scalar field), or of a scalar
            (named by its last part, or by a name before it: `city=after.address.city`). `*` is the record itself, and
            `after.*` the same as `after`. Where two give the same name, the first one counts. Leaves out a record's
            fields that this mapping uses for something else, that are never scalar (records, arrays, maps, bytes), or
            that look like a phone or an address. A record whose schema has nothing at a path is undecodable.
        flatten: What to put between the names of a nested record and of its fields, which are then attributes, too:
            with `_`, `address.city` is `address_city`. Empty: nested records are left out.
        occurred_at: A timestamp, a whole number of milliseconds since 1970, or ISO 8601 text.
        event_id: Text or a whole number.
        exclude: Patterns (`*`, `?`, `[…]`; case-sensitive) of attributes to leave out, by their names in the schema.
        prefix: Goes before each attribute's name, except those in `rename`.
        rename: From an attribute's name in the schema to its name at the destination.
        ignore_when_null: A record with null at this path is ignored, such as a CDC delete with null at `after`.
        ignore_when: Pairs `path=value`. A record is ignored if one of its paths has its value, such as
            `__deleted=true`. Values are compared as text: `true`, `false`, `null`, numbers in their shortest form,
            dates as they are sent. A path that a schema lacks has no value.
        types: Patterns (`*`, `?`, `[…]`; case-sensitive) of record types to take, by name or by name with namespace.
            Records of other types are ignored. Empty: all types are taken.

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
    flatten: str = ""
    exclude: tuple[str, ...] = ()
    prefix: str = ""
    rename: AbstractMapping[str, str] = field(default_factory=dict)
    ignore_when_null: str = ""
    ignore_when: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all("=" in pair for pair in self.ignore_when):
            raise ValueError("ignore_when: write path=value, as in __deleted=true")
        for name in _PATHS:
            for label, path in self.labelled(name):
                _check(f"{name} {label}".strip(), path, star=name == "attributes")
        targets = list(self.rename.values())
        if not all(
            map(
                _is_text,
                (self.prefix, self.flatten, *targets, *(label for name in _PAIRS for label, _ in self.labelled(name))),
            )
        ):
            raise ValueError("rename: a name, in it or in prefix or in a pair, holds bytes that are not UTF-8")
        if len(set(targets)) < len(targets):
            raise ValueError("rename: two attributes have the same new name")
        if not all(targets):
            raise ValueError("rename: a new name is empty; to leave an attribute out, use exclude")

    def labelled(self, name: str) -> Iterator[tuple[str, str]]:
        """The paths of one setting, each with its label: the name in a `name=path` pair, else an empty text.

        The label in `ignore_when` is the value.
        """
        if name == "ignore_when":
            for path, wanted in self.ignored():
                yield wanted, path
            return
        value: str = getattr(self, name)
        if name == "attributes" and value.strip():
            for each in value.split(","):
                label, _, path = each.rpartition("=")
                yield label.strip(), path.strip()
        elif name == "custom_identifiers" and "=" in value:
            for pair in value.split(","):
                label, _, path = pair.partition("=")
                yield label.strip(), path.strip()
        elif value.strip():
            yield "", value.strip()

    def ignored(self) -> Iterator[tuple[str, str]]:
        """The pairs of `ignore_when`: path and value."""
        for pair in self.ignore_when:
            path, _, wanted = pair.partition("=")
            yield path.strip(), wanted.strip()

    def takes(self, avro: AvroType) -> bool:
        """Whether records of this schema are taken, by `types`. Of a union, if one of its types is."""
        types = [branch for branch in avro.branches(avro.root) if is_record(branch)]
        names = {name for each in types for name in (plain_name(each), full_name(each))}
        return not self.types or any(fnmatchcase(name, pattern) for name in names for pattern in self.types)

    @property
    def looks_at_key(self) -> bool:
        """Whether a path leads into the Kafka key."""
        return any(parts[0] == "key" for _, path in self.paths() for parts in alternatives(path) if parts)

    def paths(self) -> Iterator[tuple[str, str]]:
        """Every path in use, with the name of its setting."""
        for name in _PATHS:
            for _, path in self.labelled(name):
                yield name, path


@dataclass(frozen=True, slots=True)
class Shape:
    """The schema of a record's value, and that of its Kafka key if the mapping looks at it and there is one."""

    value: AvroType
    key: AvroType | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads in one record's shape, and the types that may be there (without null).

    `part` is the path's last part as it was written, and `avro` the schema that it leads into.
    """

    keys: Keys
    types: tuple[Any, ...]
    part: str
    avro: AvroType


def alternatives(path: str) -> Iterator[Keys]:
    """A path's alternatives in order, each as its parts, without the last `*` of an attributes path."""
    for alternative in path.split("|"):
        parts = tuple(part.strip() for part in alternative.split("."))
        yield parts[:-1] if parts[-1] == "*" else parts


def find(shape: Shape, path: str, *, left_out: bool = False) -> list[Found]:
    """Every place where a path leads in a record. Empty if there is none; several by alternatives and unions.

    With `left_out`, a path may lead through fields that are left out.
    """
    found: dict[Keys, Found] = {}
    for parts in alternatives(path):
        in_key = parts[:1] == ("key",)
        avro = shape.key if in_key else shape.value
        if avro is None:
            continue
        ways: dict[Keys, list[Any]] = {((KEY,) if in_key else ()): list(avro.branches(avro.root))}
        for part in parts[1 if in_key else 0 :]:
            ways = _step(avro, ways, part, left_out=left_out)
        found |= {keys: Found(keys, tuple(types), "".join(parts[-1:]), avro) for keys, types in ways.items()}
    return list(found.values())


def shown(keys: Keys) -> str:
    """The steps as a path."""
    return ".".join("key" if key == KEY else key for key in keys)


def names_of(declared: dict[str, Any]) -> Iterator[str]:
    """A field's name, then its aliases."""
    yield declared["name"]
    yield from declared.get("aliases", ())


def values_of(avro: AvroType, schema: Any) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """The type of a map's values. None if it is no map.

    Kafka Connect and ksqlDB write a map as an array of records with the fields `key` and `value`.
    """
    if kind_of(schema) == "map":
        return schema["values"]
    if kind_of(schema) != "array":
        return None
    items = avro.resolve(schema["items"])
    if not is_record(items) or {declared["name"] for declared in items["fields"]} != _ENTRY:
        return None
    key, value = (next(each["type"] for each in items["fields"] if each["name"] == name) for name in ("key", "value"))
    return value if all(kind_of(branch) in _ENTRY_KEYS for branch in avro.branches(key)) else None


def _step(avro: AvroType, ways: dict[Keys, list[Any]], part: str, *, left_out: bool) -> dict[Keys, list[Any]]:
    onward: dict[Keys, dict[int, Any]] = {}  # each type once: a union of unions has many ways to the same one
    for keys, types in ways.items():
        for schema in types:
            if is_record(schema):
                declared = _field(schema, part, left_out=left_out)
                if declared is not None:
                    found = onward.setdefault((*keys, declared["name"]), {})
                    found.update((id(branch), branch) for branch in avro.branches(declared["type"]))
            elif (values := values_of(avro, schema)) is not None:
                found = onward.setdefault((*keys, part), {})
                found.update((id(branch), branch) for branch in avro.branches(values))
    return {keys: list(types.values()) for keys, types in onward.items()}


def _field(record: dict[str, Any], name: str, *, left_out: bool) -> dict[str, Any] | None:
    for wanted in (lambda declared: declared["name"] == name, lambda declared: name in declared.get("aliases", ())):
        for declared in record["fields"]:
            if wanted(declared) and (left_out or LEFT_OUT not in declared):
                return dict(declared)
    return None


def _is_text(name: str) -> bool:
    """Whether it can be sent. Python makes lone surrogates of such bytes in the environment."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(setting: str, path: str, *, star: bool) -> None:
    if not path:
        raise ValueError(f"{setting}: the path is empty; leave the pair out, or write name=path")
    for alternative in path.split("|"):
        parts = [part.strip() for part in alternative.split(".")]
        if not all(parts):
            raise ValueError(
                f"{setting}: {path!r} has an empty part; write field names with dots between, as in user.phone"
            )
        if "*" in (parts[:-1] if star else parts):
            raise ValueError(
                f"{setting}: {path!r} has a * in the wrong place; only the attributes path may end with one, as after.*"
            )
