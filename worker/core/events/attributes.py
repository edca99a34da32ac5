"""Finds the attributes of a schema's records by the mapping's paths, and what is kept back or left out."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from worker.core.avro.schema import AvroType, Undecodable, is_record, kind_of
from worker.core.events.contacts import is_contact_name
from worker.core.events.mapping import LEFT_OUT, Found, Keys, Mapping, Shape, find, names_of, shown, values_of
from worker.core.events.places import Attributes, Decoded, Entries, Fields, Naming, Place, Row, Scalar

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
    """Where the attributes are.

    Raises:
        Undecodable: The mapping does not fit this schema.
    """
    compiler = _Compiler(mapping, shape, named)
    places: list[tuple[Place, ...]] = []
    for label, path in mapping.labelled("attributes"):
        found = find(shape, path)
        if not found and not find(shape, path, left_out=True):
            return Attributes(refusal=f"this schema has no {path}")
        try:
            places.append(compiler.path(label, found))
        except _NoScalar:
            return Attributes(refusal=f"no field of {path} is a scalar in this schema")
    return Attributes(tuple(filter(None, places)))


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

    def path(self, label: str, found: list[Found]) -> tuple[Place, ...]:
        """A path's alternatives. None if all are left out."""
        alternatives: list[Place] = []
        names: dict[str, Keys] = {}
        for one in found:
            self._names = {}
            alternatives.append(self._place(label, one))
            names |= self._names
        self._earlier |= names
        return tuple(alternatives)

    def _place(self, label: str, found: Found) -> Place:
        if label and not _is_scalar(found):
            raise Undecodable(f"attributes: {label}={shown(found.keys)} is not one scalar field in this schema")
        return self._scalar(label, found) if _is_scalar(found) else self._map_or_record(found)

    def _scalar(self, label: str, found: Found) -> Place:
        new = label or _destination_name(self._mapping, tuple(dict.fromkeys((found.part, found.keys[-1]))))
        if new is not None:
            self._claim(new, found.keys)
        return Scalar(found.keys, new)

    def _map_or_record(self, found: Found) -> Place:
        records = [schema for schema in found.types if is_record(schema)]
        if records:
            if not any(
                _may_be_scalar(found.avro, declared["type"]) or self._nested(found.avro, declared)
                for record in records
                for declared in record["fields"]
            ):
                raise _NoScalar
            inside = tuple(each["name"] for each in records)
            return Row(found.keys, self._record(found.avro, found.keys, records, "", inside))
        if any(values_of(found.avro, schema) is None for schema in found.types):
            raise Undecodable(f"attributes: {shown(found.keys)} is neither a map, a record nor a scalar in this schema")
        renames = self._mapping.exclude or self._mapping.prefix or self._mapping.rename
        return Entries(found.keys, self._named if renames else None, tuple(self._mapping.rename))

    def _record(self, avro: AvroType, at: Keys, records: list[Decoded], before: str, inside: tuple[str, ...]) -> Fields:
        """A record's fields, whose names begin with `before`, as those of the records that it is `inside` of."""
        fields, seen = Fields(), set[str]()
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
                    inner = self._record(avro, keys, nested, names[0] + self._mapping.flatten, deeper)
                    fields.nested.append((name, inner))
                elif _may_be_scalar(avro, declared["type"]):
                    self._field(fields, seen, avro, declared, keys, names)
                else:
                    self.left_out[shown(keys)] = "it is no text, number or truth value"
        return fields

    def _field(
        self, fields: Fields, seen: set[str], avro: AvroType, declared: Decoded, keys: Keys, names: tuple[str, ...]
    ) -> None:
        new = _destination_name(self._mapping, names)
        if new is None:
            self.left_out[shown(keys)] = "WORKER_MAPPING__EXCLUDE"
        if new is None or declared["name"] in seen:
            return  # excluded, or of another record in the same place
        seen.add(declared["name"])
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
