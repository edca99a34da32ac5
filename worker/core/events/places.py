"""Where the attributes of a schema's records lie, and functions that read them there from a decoded record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from worker.core.avro.schema import Undecodable
from worker.core.events.contacts import is_contact
from worker.core.events.getting import by_keys, entries
from worker.core.events.mapping import Keys

Decoded: TypeAlias = dict[str, Any]
Naming: TypeAlias = Callable[[str], str | None]
ReadAttributes: TypeAlias = Callable[[Decoded, list[str]], dict[str, object]]
"""From a decoded record to its attributes. Adds the names of those that are kept back to the list."""
_Read: TypeAlias = Callable[[Decoded, list[str]], dict[str, object] | None]
"""The same for one place. None if the record has nothing there."""


def entry(name: str, value: object, key: str) -> dict[str, object] | None:
    """The attribute `name` that is at a key of a value. None if there is none."""
    if type(value) is list:
        value = entries(value)
    return {name: value[key]} if type(value) is dict and key in value else None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One scalar field. Its attribute is called `name`; None: it is excluded."""

    keys: Keys
    name: str | None

    def reader(self) -> _Read:
        """A function that reads it."""
        name = self.name
        if name is None:
            return lambda _data, _kept_back: None
        get, last = by_keys(self.keys[:-1]), self.keys[-1]
        return lambda data, _kept_back: entry(name, get(data), last)


@dataclass(frozen=True, slots=True)
class Entries:
    """A map, of which each entry is an attribute. `named` gives their names; None: the names stay as they are.

    Where an entry that is `renamed` and another one get the same name, the renamed one counts: a map has no order.
    """

    keys: Keys
    named: Naming | None
    renamed: tuple[str, ...] = ()

    def reader(self) -> _Read:
        """A function that reads it."""
        get, of = by_keys(self.keys), self.of
        return lambda data, _kept_back: of(get(data))

    def of(self, value: object) -> dict[str, object] | None:
        """The attributes in a value. None if it is no map."""
        if type(value) is list:
            value = entries(value)
        if type(value) is not dict:
            return None
        named = self.named
        if named is None:
            return value
        found = {new: item for name, item in value.items() if (new := named(name)) is not None}
        for name in self.renamed:
            if name in value and (new := named(name)) is not None:
                found[new] = value[name]
        return found


@dataclass(frozen=True, slots=True)
class Fields:
    """What to read of a record: (field, attribute) pairs; `texts` may turn out to be a phone or an address."""

    plain: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    nested: list[tuple[str, Fields]] = field(default_factory=list)

    def reader(self) -> _Read:
        """A function that reads them from the decoded record whose fields they are."""
        plain, texts = tuple(self.plain), tuple(self.texts)
        nested = tuple((name, inner.reader()) for name, inner in self.nested)

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


@dataclass(frozen=True, slots=True)
class Row:
    """A record, some of whose fields are attributes."""

    keys: Keys
    fields: Fields

    def reader(self) -> _Read:
        """A function that reads it."""
        get, read = by_keys(self.keys), self.fields.reader()

        def row(data: Decoded, kept_back: list[str]) -> dict[str, object] | None:
            value = get(data)
            if type(value) is list:
                value = entries(value)
            return read(value, kept_back) if type(value) is dict else None

        return row


Place: TypeAlias = Scalar | Entries | Row


@dataclass(frozen=True, slots=True)
class Attributes:
    """The places of each path, of which the first that is there counts. `refusal`: why no record has any."""

    paths: tuple[tuple[Place, ...], ...] = ()
    refusal: str = ""

    def reader(self) -> ReadAttributes:
        """A function that reads them. It raises `Undecodable` if there is a refusal."""
        if self.refusal:
            return _none_there(self.refusal)
        reads = [_first(places) for places in self.paths]
        if len(reads) == 1:
            (only,) = reads
            return lambda data, kept_back: only(data, kept_back) or {}

        def merged(data: Decoded, kept_back: list[str]) -> dict[str, object]:
            found: dict[str, object] = {}
            for read in reversed(reads):
                found.update(read(data, kept_back) or {})
            return found

        return merged


def _first(places: tuple[Place, ...]) -> _Read:
    """The first one that is there. A scalar that is null counts only if no other is."""
    alternatives = [(place.reader(), type(place) is Scalar) for place in places]
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


def _none_there(why: str) -> ReadAttributes:
    """A function that refuses each record: to pass it over would lose what it says, in silence."""

    def refuse(_data: Decoded, _kept_back: list[str]) -> dict[str, object]:
        raise Undecodable(f"attributes: {why}; mend WORKER_MAPPING__ATTRIBUTES, or leave such records out by its rules")

    return refuse
