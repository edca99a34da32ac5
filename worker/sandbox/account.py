"""The account behind the token: its attributes' types, its users, and their attributes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.sandbox.upsert import Identifier, Number, RefusedError, Upsert, Value

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class Kind(StrEnum):
    """An attribute's type. The first value ever set pins it, for the whole account."""

    NUMBER = "Number"
    BOOLEAN = "Boolean"
    STRING = "String"
    DATE = "Date"


def kind_of(value: Value) -> Kind:
    """The type that a value pins for a name without a type.

    A string's text counts, as in the documented example: `"24"` makes 'Age' a Number. So `"02134"` makes a ZIP code a
    Number, `"TRUE"` makes a Boolean, and an ISO 8601 date, with or without a time, a Date.
    """
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, Number) or _NUMBER.fullmatch(value):
        return Kind.NUMBER
    if value.lower() in ("true", "false"):
        return Kind.BOOLEAN
    return Kind.DATE if _is_date(value) else Kind.STRING


def fits(value: Value, kind: Kind) -> bool:
    """Whether an attribute of this type accepts the value. A String accepts every JSON string, `"24"` too."""
    return (kind is Kind.STRING and isinstance(value, str)) or kind_of(value) is kind


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        # Python accepts at most six digits of a second's fraction. The expression above has checked the digits already.
        datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text))
    except ValueError:
        return False
    return True


def text_of(value: Value) -> str:
    """A value as text: numbers as they were sent, booleans as true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Number) else value


def json_of(value: Value) -> str:
    """A value as JSON, a number in exactly the digits that were sent."""
    return value.text if isinstance(value, Number) else json.dumps(value)


@dataclass(slots=True, eq=False)
class _Person:
    """A user. `identifiers` is an ordered set, in the order in which they became known."""

    number: int
    identifiers: dict[Identifier, Identifier] = field(default_factory=dict)
    attributes: dict[str, tuple[int, Value]] = field(default_factory=dict)


class Account:
    """Applies upserts, all of a call or none of it."""

    def __init__(self, enumerations: Mapping[str, Sequence[str]] | None = None) -> None:
        """`enumerations` are the attributes created in the UI: their values are fixed, and they have no type."""
        self._enumerations = {name: frozenset(values) for name, values in (enumerations or {}).items()}
        self._kinds: dict[str, Kind] = {}
        self._people: dict[int, _Person] = {}
        self._known: dict[Identifier, _Person] = {}
        self._upserts = 0

    @property
    def upserts(self) -> int:
        """How many calls were applied."""
        return self._upserts

    @property
    def attribute_count(self) -> int:
        """How many attribute names the account has, enumerated ones included."""
        return len(self._kinds.keys() | self._enumerations.keys())

    @property
    def user_count(self) -> int:
        """How many distinct users the account has."""
        return len(self._people)

    def apply(self, upsert: Upsert) -> None:
        """Applies a call.

        Raises:
            RefusedError: One attribute does not fit. Then nothing of the call was applied, and no type was pinned.
        """
        new_kinds: dict[str, Kind] = {}
        for name, value in upsert.properties.items():
            self._check(name, value, new_kinds)
        self._kinds.update(new_kinds)
        self._upserts += 1
        person = self._unite(upsert.identifiers)
        for name, value in upsert.properties.items():
            person.attributes[name] = (self._upserts, value)

    def _check(self, name: str, value: Value, new_kinds: dict[str, Kind]) -> None:
        allowed = self._enumerations.get(name)
        if allowed is not None:
            if text_of(value) not in allowed:
                message = f"Attribute '{name}': the value is not one of those defined for it"
                raise RefusedError(message, attribute=name, value=value)
            return
        kind = self._kinds.get(name)
        if kind is None:
            new_kinds[name] = kind_of(value)
        elif not fits(value, kind):
            message = f"Attribute '{name}': expected {kind}, got {kind_of(value)}"
            raise RefusedError(message, attribute=name, value=value)

    def _unite(self, identifiers: Sequence[Identifier]) -> _Person:
        """The one user that has all these identifiers from now on.

        If they belong to several users, merges these into the oldest one. If several had the same attribute, the value
        set last stays.
        """
        keys = [identifier.key for identifier in identifiers]
        known = sorted({self._known[key] for key in keys if key in self._known}, key=lambda person: person.number)
        person = known[0] if known else _Person(self._upserts)
        self._people[person.number] = person
        for absorbed in known[1:]:
            for name, setting in absorbed.attributes.items():
                if name not in person.attributes or person.attributes[name][0] < setting[0]:
                    person.attributes[name] = setting
            person.identifiers.update(absorbed.identifiers)
            self._known.update(dict.fromkeys(absorbed.identifiers, person))
            del self._people[absorbed.number]
        for key, identifier in zip(keys, identifiers, strict=True):
            person.identifiers.setdefault(key, identifier)
            self._known[key] = person
        return person

    def read(self, identifier: Identifier) -> list[tuple[str, str]]:
        """A user's attributes, each as a name and a text, in the order first set. Empty for an unknown user."""
        person = self._known.get(identifier.key)
        if person is None:
            return []
        return [(name, text_of(value)) for name, (_, value) in person.attributes.items()]

    def lines(self) -> list[str]:
        """The final state: one JSON object per user. Equal states give equal lines, in equal order."""
        return sorted(_line(person) for person in self._people.values())


def _line(person: _Person) -> str:
    user, *bridged = _as_users(list(person.identifiers.values()))
    members = [f'"user": {json.dumps(user, sort_keys=True)}']
    if bridged:
        members.append(f'"bridged": {json.dumps(bridged, sort_keys=True)}')
    attributes = (f"{json.dumps(name)}: {json_of(person.attributes[name][1])}" for name in sorted(person.attributes))
    members.append(f'"attributes": {{{", ".join(attributes)}}}')
    return f"{{{', '.join(members)}}}"


def as_user(identifiers: Sequence[Identifier]) -> dict[str, object]:
    """Identifiers in the shape of a request's `user`."""
    user: dict[str, object] = {}
    external: dict[str, object] = {}
    custom = []
    for identifier in identifiers:
        if identifier.kind == "custom":
            custom.append({"name": identifier.name, "value": identifier.value})
        else:
            (external if identifier.kind == "clientUserId" else user)[identifier.kind] = identifier.value
    if custom:
        external["customIdentifiers"] = custom
    if external:
        user["externalIdentifiers"] = external
    return user


def _as_users(identifiers: Sequence[Identifier]) -> list[dict[str, object]]:
    """The same, split into as many users as needed for none to have two identifiers of one kind."""
    users: list[list[Identifier]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for identifier in sorted(identifiers):
        place = counts[identifier.kind, identifier.name]
        counts[identifier.kind, identifier.name] += 1
        if place == len(users):
            users.append([])
        users[place].append(identifier)
    return [as_user(user) for user in users]
