"""Reads an event's attributes from a decoded record: closures compiled once per schema, from the mapping's paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeAlias

from worker.core.avro.schema import AvroType, Undecodable, is_record, kind_of
from worker.core.events.contacts import is_contact, is_contact_name
from worker.core.events.getting import by_keys, entries
from worker.core.events.mapping import LEFT_OUT, Found, Keys, Mapping, Shape, find, names_of, shown, values_of

Decoded: TypeAlias = dict[str, Any]
Naming: TypeAlias = Callable[[str], str | None]
Attributes: TypeAlias = Callable[[Decoded, list[str]], dict[str, object]]
"""From a decoded record to its attributes. Adds the names of those that are kept back to the list."""
_Read: TypeAlias = Callable[[Decoded, list[str]], dict[str, object] | None]
"""The same for one place. None if the record has nothing there."""


_SCALARS = frozenset({"boolean", "int", "long", "float", "double", "string", "enum"})
_CONTACTS = frozenset({"string", "int", "long"})  # of which a phone or an address may be
_NAMES_CACHED = 4_096
_CACHED_NAME_MAX = 200  # characters: longer names are refused later, and may be very long
_FIELDS_MAX = 20_000
"""Bound of the fields of one schema: a few types that hold each other make millions when they are flattened."""


def naming(mapping: Mapping) -> Naming:
    """A function that gives attributes of maps their names at the destination; None if one is excluded.

    All schemas of a mapping share it, and its memory.
    """

    @lru_cache(maxsize=_NAMES_CACHED)
    def cached(name: str) -> str | None:
        return _destination_name(mapping, (name,))

    return lambda name: cached(name) if len(name) <= _CACHED_NAME_MAX else _destination_name(mapping, (name,))


def attributes_of(mapping: Mapping, shape: Shape, named: Naming) -> Attributes:
    """A function that reads the attributes.

    Raises:
        Undecodable: The mapping does not fit this schema. The returned function raises it, too.
    """
    paths = list(mapping.labelled("attributes"))
    if not paths:
        return lambda _data, _kept_back: {}
    compiler = _Compiler(mapping, shape, named)
    reads: list[_Read] = []
    for label, path in paths:
        found = find(shape, path)
        if not found and not find(shape, path, left_out=True):
            return _none_there(f"this schema has no {path}")
        try:
            reads += compiler.path(label, found)
        except _NoScalar:
            return _none_there(f"no field of {path} is a scalar in this schema")
    return _merged(reads)


def kept_back(mapping: Mapping, shape: Shape) -> tuple[str, ...]:
    """The fields that are kept back because their names look like a phone's or an address's. `check` tells of them."""
    return tuple(dict.fromkeys(_compiled(mapping, shape).kept_back))


def left_out(mapping: Mapping, shape: Shape) -> dict[str, str]:
    """The fields beside the attributes that are none, as paths, each with why. Not those with a path of their own."""
    named = {shown(one.keys) for _, path in mapping.labelled("attributes") for one in find(shape, path)}
    return {path: why for path, why in _compiled(mapping, shape).left_out.items() if path not in named}


def _compiled(mapping: Mapping, shape: Shape) -> _Compiler:
    compiler = _Compiler(mapping, shape, naming(mapping))
    for label, path in mapping.labelled("attributes"):
        try:
            compiler.path(label, find(shape, path))
        except (_NoScalar, Undecodable):
            continue
    return compiler


class _NoScalar(Exception):
    """A record without a single field that may be a scalar."""


@dataclass(slots=True)
class _Fields:
    """What to read of a record: (field, attribute) pairs; `texts` may turn out to be a phone or an address."""

    plain: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    nested: list[tuple[str, _Read]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def read(self) -> _Read:
        plain, texts, nested = tuple(self.plain), tuple(self.texts), tuple(self.nested)

        def read(value: Decoded, kept_back: list[str]) -> dict[str, object]:
            found = {new: value[name] for name, new in plain if name in value}
            for name, new in texts:
                item = value.get(name)
                if type(item) is str and is_contact(item):
                    kept_back.append(new)
                elif name in value:
                    found[new] = item
            for name, inner in nested:
                item = value.get(name)
                if type(item) is dict:
                    found.update(inner(item, kept_back) or {})
            return found

        return read


class _Compiler:
    """Compiles the attribute paths of a mapping, one after the other."""

    def __init__(self, mapping: Mapping, shape: Shape, named: Naming) -> None:
        self._mapping = mapping
        self._named = named
        self.kept_back: list[str] = []
        self.left_out: dict[str, str] = {}
        self._used = {
            one.keys
            for setting, path in mapping.paths()
            if setting != "attributes"
            for one in find(shape, path)
        }  # fmt: skip
        # A field with a path of its own is not taken once more by a `*`.
        self._single = {
            one.keys
            for _, path in mapping.labelled("attributes")
            for one in find(shape, path)
            if _is_scalar(one)
        }  # fmt: skip
        self._earlier: dict[str, Keys] = {}  # names of attributes, of the paths before this one
        self._names: dict[str, Keys] = {}  # of this alternative
        self._fields = 0

    def path(self, label: str, found: list[Found]) -> list[_Read]:
        """A path's function, which reads the first alternative that a record has. None if all are left out."""
        alternatives: list[tuple[_Read, bool]] = []
        names: dict[str, Keys] = {}
        for one in found:
            self._names = {}
            alternatives.append((self._place(label, one), _is_scalar(one)))
            names |= self._names
        self._earlier |= names
        return [_first(alternatives)] if alternatives else []

    def _place(self, label: str, found: Found) -> _Read:
        if label and not _is_scalar(found):
            raise Undecodable(f"attributes: {label}={shown(found.keys)} is not one scalar field in this schema")
        if _is_scalar(found):
            return self._scalar(label, found)
        get, read = by_keys(found.keys), self._map_or_record(found)

        def place(data: Decoded, kept_back: list[str]) -> dict[str, object] | None:
            value = get(data)
            if type(value) is list:
                value = entries(value)
            return read(value, kept_back) if type(value) is dict else None

        return place

    def _scalar(self, label: str, found: Found) -> _Read:
        new = label or _destination_name(self._mapping, tuple(dict.fromkeys((found.part, found.keys[-1]))))
        if new is None:
            return lambda _data, _kept_back: None
        self._claim(new, found.keys)
        get, last = by_keys(found.keys[:-1]), found.keys[-1]

        def scalar(data: Decoded, _kept_back: list[str]) -> dict[str, object] | None:
            value = get(data)
            if type(value) is list:
                value = entries(value)
            return {new: value[last]} if type(value) is dict and last in value else None

        return scalar

    def _map_or_record(self, found: Found) -> _Read:
        records = [schema for schema in found.types if is_record(schema)]
        if records:
            if not any(
                _may_be_scalar(found.avro, declared["type"]) or self._nested(found.avro, declared)
                for record in records
                for declared in record["fields"]
            ):
                raise _NoScalar
            return self._record(found.avro, found.keys, records, "", tuple(each["name"] for each in records))
        if any(values_of(found.avro, schema) is None for schema in found.types):
            raise Undecodable(f"attributes: {shown(found.keys)} is neither a map, a record nor a scalar in this schema")
        mapping, named = self._mapping, self._named
        if not (mapping.exclude or mapping.prefix or mapping.rename):
            return lambda value, _kept_back: value
        return lambda value, _kept_back: {new: item for name, item in value.items() if (new := named(name)) is not None}

    def _record(self, avro: AvroType, at: Keys, records: list[Decoded], before: str, inside: tuple[str, ...]) -> _Read:
        """Reads a record's fields, whose names begin with `before`, as those of the records that it is `inside` of."""
        fields = _Fields()
        for record in records:
            for declared in record["fields"]:
                name, keys = declared["name"], (*at, declared["name"])
                self._fields += 1
                if self._fields > _FIELDS_MAX:
                    raise Undecodable(f"attributes: more than {_FIELDS_MAX} fields in this schema")
                if LEFT_OUT in declared:
                    self.left_out[shown(keys)] = "a rule of the registry's schema tags it"
                    continue
                if keys in self._used or keys in self._single:
                    continue
                names = tuple(before + each for each in names_of(declared))
                if nested := self._nested(avro, declared, inside):
                    deeper = (*inside, *(each["name"] for each in nested))
                    read = self._record(avro, keys, nested, names[0] + self._mapping.flatten, deeper)
                    fields.nested.append((name, read))
                elif _may_be_scalar(avro, declared["type"]):
                    self._field(fields, avro, declared, keys, names)
                else:
                    self.left_out[shown(keys)] = "it is no text, number or truth value"
        return fields.read()

    def _field(self, fields: _Fields, avro: AvroType, declared: Decoded, keys: Keys, names: tuple[str, ...]) -> None:
        new = _destination_name(self._mapping, names)
        if new is None:
            self.left_out[shown(keys)] = "WORKER_MAPPING__EXCLUDE"
        if new is None or declared["name"] in fields.seen:
            return  # excluded, or of another record in the same place
        fields.seen.add(declared["name"])
        kinds = {kind_of(branch) for branch in avro.branches(declared["type"])}
        is_named = any(name in self._mapping.rename for name in names)
        if not is_named and kinds & _CONTACTS and any(map(is_contact_name, names_of(declared))):
            self.kept_back.append(shown(keys))
            return
        self._claim(new, keys)
        pairs = fields.texts if "string" in kinds and not is_named else fields.plain
        pairs.append((declared["name"], new))

    def _nested(self, avro: AvroType, declared: Decoded, inside: Iterable[str] = ()) -> list[Decoded]:
        """The records in a field, if they are to be flattened. A type inside itself ends there."""
        if not self._mapping.flatten or _may_be_scalar(avro, declared["type"]):
            return []
        return [
            branch for branch in avro.branches(declared["type"]) if is_record(branch) and branch["name"] not in inside
        ]

    def _claim(self, new: str, keys: Keys) -> None:
        if self._earlier.get(new, keys) != keys or self._names.setdefault(new, keys) != keys:
            raise Undecodable("attributes: rename, prefix or paths give two fields of this schema the same name")


def _first(alternatives: list[tuple[_Read, bool]]) -> _Read:
    """The first one that is there. A scalar that is null counts only if no other is; the flag says which are such."""
    if len(alternatives) == 1:
        return alternatives[0][0]

    def first(data: Decoded, kept_back: list[str]) -> dict[str, object] | None:
        null: dict[str, object] | None = None
        for read, is_scalar in alternatives:
            found = read(data, kept_back)
            if found is None:
                continue
            if not is_scalar or None not in found.values():
                return found
            null = null or found
        return null

    return first


def _merged(reads: list[_Read]) -> Attributes:
    if len(reads) == 1:
        (only,) = reads
        return lambda data, kept_back: only(data, kept_back) or {}

    def merged(data: Decoded, kept_back: list[str]) -> dict[str, object]:
        found: dict[str, object] = {}
        for read in reversed(reads):
            found.update(read(data, kept_back) or {})
        return found

    return merged


def _none_there(why: str) -> Attributes:
    """A function that refuses each record: to pass it over would lose what it says, in silence."""

    def refuse(_data: Decoded, _kept_back: list[str]) -> dict[str, object]:
        raise Undecodable(f"attributes: {why}; mend WORKER_MAPPING__ATTRIBUTES, or leave such records out by its rules")

    return refuse


def _destination_name(mapping: Mapping, names: tuple[str, ...]) -> str | None:
    """The attribute's name at the destination. None if it is excluded. `names` is the field's name and its aliases."""
    if any(fnmatchcase(name, pattern) for name in names for pattern in mapping.exclude):
        return None
    for name in names:
        if name in mapping.rename:
            return mapping.rename[name]
    return mapping.prefix + names[0]


def _is_scalar(found: Found) -> bool:
    """Whether a path ends at one scalar, and not at a map or a record of attributes."""
    return (
        bool(found.keys)
        and any(_is_scalar_type(schema) for schema in found.types)
        and not any(
            (is_record(schema) and not _is_scalar_type(schema)) or values_of(found.avro, schema) is not None
            for schema in found.types
        )
    )


def _may_be_scalar(avro: AvroType, schema: Any) -> bool:  # noqa: ANN401 - Avro's schemas are str, dict or list
    return any(map(_is_scalar_type, avro.branches(schema)))


def _is_scalar_type(schema: Any) -> bool:  # noqa: ANN401 - as above
    return kind_of(schema) in _SCALARS or (isinstance(schema, dict) and "logicalType" in schema)
