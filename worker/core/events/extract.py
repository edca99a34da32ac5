"""Makes an event of a decoded record: by closures compiled once per schema, so that a record costs only look-ups."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from worker.core.avro.render import Nanoseconds, Unsupported, scalar
from worker.core.events.attributes import Decoded, Naming, attributes_of
from worker.core.events.getting import Getter, by_keys
from worker.core.events.mapping import Found, Mapping, Shape, find
from worker.core.model import Event, Unusable, User

_Faults: TypeAlias = list[Unusable]
_Text: TypeAlias = Callable[[Decoded, _Faults], str | None]
_Custom: TypeAlias = Callable[[Decoded, _Faults], tuple[tuple[str, str], ...]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FLOAT_WHOLE_MAX = 2**53  # above it, neighbours are the same float
_NO_CUSTOM: tuple[tuple[str, str], ...] = ()


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
    attributes = attributes_of(mapping, shape, named)
    occurred_at = _getter(_found(mapping.occurred_at, shape))
    event_id = _getter(_found(mapping.event_id, shape))
    guards = [by_keys(found.keys) for found in _found(mapping.ignore_when_null, shape)]
    unwanted = [(_getter(found), value) for path, value in mapping.ignored() if (found := _found(path, shape))]

    def extract(data: Decoded) -> Event | None:
        if guards and all(guard(data) is None for guard in guards):
            return None
        if unwanted and any(_shown(get(data)) == value for get, value in unwanted):
            return None
        faults: _Faults = []
        kept_back: list[str] = []
        return Event(
            User(phone(data, faults), email(data, faults), client_user_id(data, faults), custom(data, faults)),
            attributes(data, kept_back),
            milliseconds(occurred_at(data)),
            _as_text(event_id(data)),
            tuple(faults),
            tuple(kept_back),
        )

    return extract


def milliseconds(value: object) -> int | None:
    """A time as milliseconds since 1970. None if the value is not a time. Without a zone it counts as UTC."""
    kind = type(value)
    if kind is datetime:
        moment: datetime = value  # type: ignore[assignment]  # its exact type was just compared
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if kind is int:
        return value  # type: ignore[return-value]  # as above
    if isinstance(value, Nanoseconds):
        return value.count // 1_000_000
    if isinstance(value, str):
        try:
            return milliseconds(datetime.fromisoformat(value))
        except ValueError:
            return None
    return None


def _shown(value: object) -> str | None:
    """A value as text, for `ignore_when`. None if it has no such form: an array, an object, bytes."""
    if type(value) is str:
        return value
    try:
        plain = scalar(value)
    except Unsupported:
        return None
    if plain is None or plain is True or plain is False:
        return json.dumps(plain)
    if type(plain) is Decimal:
        return format(plain.normalize(), "f")
    return str(int(plain)) if type(plain) is float and plain.is_integer() else str(plain)


def _found(path: str, shape: Shape) -> list[Found]:
    return find(shape, path) if path else []


def _getter(found: list[Found]) -> Getter:
    """A function that returns the first present value of a path's alternatives. Blank text counts as absent."""
    getters = [by_keys(one.keys) for one in found]
    if len(getters) == 1:
        return getters[0]

    def first(data: Decoded) -> Any:  # noqa: ANN401 - whatever Avro gave
        for get in getters:
            value = get(data)
            if value is not None and not (type(value) is str and not value.strip()):
                return value
        return None

    return first


def _as_text(value: object) -> str | None:
    """Text, or a whole number as text: those of databases may be decimals or floats. None: it is neither."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, Decimal):
        whole = value.to_integral_value()
        return f"{whole:f}" if whole == value else None
    if isinstance(value, float) and value.is_integer() and abs(value) < _FLOAT_WHOLE_MAX:
        return str(int(value))
    return None


def _unusable(kind: str, what: str, value: object) -> Unusable:
    return Unusable(kind, f"{what}: the field holds {type(value).__name__}; text or a whole number is needed")


def _text(path: str, kind: str, shape: Shape, what: str = "") -> _Text:
    get = _getter(_found(path, shape))

    def text(data: Decoded, faults: _Faults) -> str | None:
        value = get(data)
        if value is None or type(value) is str:
            return value
        found = _as_text(value)
        if found is None:
            faults.append(_unusable(kind, what or kind, value))
        return found

    return text


def _custom(mapping: Mapping, shape: Shape) -> _Custom:
    labelled = list(mapping.labelled("custom_identifiers"))
    if not labelled:
        return lambda _data, _faults: _NO_CUSTOM
    if labelled[0][0]:
        getters = [(name, _text(path, "custom", shape, f"custom_identifiers {name}")) for name, path in labelled]
        return lambda data, faults: tuple(
            (name, value) for name, get in getters if (value := get(data, faults)) is not None
        )
    get = _getter(find(shape, labelled[0][1]))

    def custom(data: Decoded, faults: _Faults) -> tuple[tuple[str, str], ...]:
        value = get(data)
        if not value:
            return _NO_CUSTOM
        pairs = value.items() if type(value) is dict else value if type(value) is list else (value,)
        return tuple(pair for item in pairs if (pair := _pair(item, faults)) is not None)

    return custom


def _pair(item: object, faults: _Faults) -> tuple[str, str] | None:
    """One custom identifier: an entry of a map, or a record."""
    if type(item) is dict and "value" in item and ("name" in item or "key" in item):
        item = (item["name"] if "name" in item else item["key"], item["value"])
    if type(item) is not tuple:
        fault = "custom_identifiers: neither a map nor an array of records with the fields name and value"
        faults.append(Unusable("custom", fault))
        return None
    if item[1] is None:
        return None
    name, value = map(_as_text, item)
    if name is None or value is None:
        faults.append(_unusable("custom", "custom_identifiers", item[0] if name is None else item[1]))
        return None
    return name, value
