"""Makes an event of a decoded record: by closures compiled once per schema, so that a record costs only look-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from worker.core.events.attributes import attributes_of
from worker.core.events.getting import Getter, by_keys
from worker.core.events.mapping import Found, Mapping, Shape, find
from worker.core.events.places import Decoded, Naming
from worker.core.events.values import NO_CUSTOM, as_text, custom_of, milliseconds, present, shown, unusable
from worker.core.model import Event, Unusable, User

_Faults: TypeAlias = list[Unusable]
_Text: TypeAlias = Callable[[Decoded, _Faults], str | None]
_Custom: TypeAlias = Callable[[Decoded, _Faults], tuple[tuple[str, str], ...]]


def extractor(mapping: Mapping, shape: Shape, named: Naming) -> Callable[[Decoded], Event | None]:
    """A function that makes an event of a decoded record. It returns None for one that `ignore_when…` ignores.

    The decoded record holds its Kafka key at `KEY`.

    Raises:
        Undecodable: The mapping does not fit this schema.
    """
    phone = _text(mapping.phone, "phone", shape)
    email = _text(mapping.email, "email", shape)
    client_user_id = _text(mapping.client_user_id, "client_user_id", shape)
    custom = _custom(mapping, shape)
    attributes = attributes_of(mapping, shape, named).reader()
    occurred_at = _getter(_found(mapping.occurred_at, shape))
    event_id = _getter(_found(mapping.event_id, shape))
    guards = [by_keys(found.keys) for found in _found(mapping.ignore_when_null, shape)]
    unwanted = [(_getter(found), value) for path, value in mapping.ignored() if (found := _found(path, shape))]

    def extract(data: Decoded) -> Event | None:
        if guards and all(guard(data) is None for guard in guards):
            return None
        if unwanted and any(shown(get(data)) == value for get, value in unwanted):
            return None
        faults: _Faults = []
        kept_back: list[str] = []
        return Event(
            User(phone(data, faults), email(data, faults), client_user_id(data, faults), custom(data, faults)),
            attributes(data, kept_back),
            milliseconds(occurred_at(data)),
            as_text(event_id(data)),
            tuple(faults),
            tuple(kept_back),
        )

    return extract


def _found(path: str, shape: Shape) -> list[Found]:
    return find(shape, path) if path else []


def _getter(found: list[Found]) -> Getter:
    """A function that returns the first present value of a path's alternatives. Blank text counts as absent."""
    getters = [by_keys(one.keys) for one in found]
    if len(getters) == 1:
        return getters[0]
    return lambda data: present(*[get(data) for get in getters])


def _text(path: str, kind: str, shape: Shape, what: str = "") -> _Text:
    get = _getter(_found(path, shape))

    def text(data: Decoded, faults: _Faults) -> str | None:
        value = get(data)
        if value is None or type(value) is str:
            return value
        found = as_text(value)
        if found is None:
            faults.append(unusable(kind, what or kind, value))
        return found

    return text


def _custom(mapping: Mapping, shape: Shape) -> _Custom:
    labelled = list(mapping.labelled("custom_identifiers"))
    if not labelled:
        return lambda _data, _faults: NO_CUSTOM
    if labelled[0][0]:
        getters = [(name, _text(path, "custom", shape, f"custom_identifiers {name}")) for name, path in labelled]
        return lambda data, faults: tuple(
            (name, value) for name, get in getters if (value := get(data, faults)) is not None
        )
    get = _getter(find(shape, labelled[0][1]))
    return lambda data, faults: custom_of(get(data), faults)
