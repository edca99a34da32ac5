"""Makes an event of a decoded record: by closures compiled once per schema, so that a record costs only look-ups."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeAlias

from worker.core.avro.render import Nanoseconds, Unsupported, scalar
from worker.core.avro.schema import AvroType, Undecodable, is_record, kind_of
from worker.core.events.mapping import LEFT_OUT, Found, Keys, Mapping, find, names_of
from worker.core.model import Event, Unusable, User

Decoded: TypeAlias = dict[str, Any]
Naming: TypeAlias = Callable[[str], str | None]
_Getter: TypeAlias = Callable[[Decoded], Any]
_Attributes: TypeAlias = Callable[[Decoded], dict[str, object]]
_Faults: TypeAlias = list[Unusable]
_Text: TypeAlias = Callable[[Decoded, _Faults], str | None]
_Custom: TypeAlias = Callable[[Decoded, _Faults], tuple[tuple[str, str], ...]]

_SCALARS = frozenset({"boolean", "int", "long", "float", "double", "string", "enum"})
_NAMES_CACHED = 4_096
_CACHED_NAME_MAX = 200  # characters: longer names are refused later, and may be very long
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FLOAT_WHOLE_MAX = 2**53  # above it, neighbours are the same float
_NO_CUSTOM: tuple[tuple[str, str], ...] = ()


def naming(mapping: Mapping) -> Naming:
    """A function that gives attributes of maps their names at the destination; None if one is excluded.

    All schemas of a mapping share it, and its memory.
    """

    @lru_cache(maxsize=_NAMES_CACHED)
    def cached(name: str) -> str | None:
        return _destination_name(mapping, (name,))

    return lambda name: cached(name) if len(name) <= _CACHED_NAME_MAX else _destination_name(mapping, (name,))


def extractor(mapping: Mapping, avro: AvroType, named: Naming) -> Callable[[Decoded], Event | None]:
    """A function that makes an event of a decoded record. It returns None for one that `ignore_when…` ignores.

    Raises:
        Undecodable: The mapping does not fit this schema.
    """
    phone = _text(mapping.phone, "phone", avro)
    email = _text(mapping.email, "email", avro)
    client_user_id = _text(mapping.client_user_id, "client_user_id", avro)
    custom = _custom(mapping, avro)
    attributes = _attributes(mapping, avro, named)
    occurred_at = _getter(_found(mapping.occurred_at, avro))
    event_id = _getter(_found(mapping.event_id, avro))
    guards = [_by_keys(found.keys) for found in _found(mapping.ignore_when_null, avro)]
    unwanted = [(_getter(found), value) for path, value in mapping.ignored() if (found := _found(path, avro))]

    def extract(data: Decoded) -> Event | None:
        if guards and all(guard(data) is None for guard in guards):
            return None
        if unwanted and any(_shown(get(data)) == value for get, value in unwanted):
            return None
        faults: _Faults = []
        return Event(
            User(phone(data, faults), email(data, faults), client_user_id(data, faults), custom(data, faults)),
            attributes(data),
            milliseconds(occurred_at(data)),
            _event_id(event_id(data)),
            tuple(faults),
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


def _event_id(value: object) -> str | None:
    if type(value) is str:
        return value
    return str(value) if type(value) is int else None


def _found(path: str, avro: AvroType) -> list[Found]:
    return find(avro, path) if path else []


def _by_keys(keys: Keys) -> _Getter:
    if len(keys) == 1:
        (only,) = keys
        return lambda data: data.get(only)

    def get(data: Decoded) -> Any:  # noqa: ANN401 - whatever Avro gave
        value: Any = data
        for key in keys:
            if type(value) is not dict:
                return None
            value = value.get(key)
        return value

    return get


def _getter(found: list[Found]) -> _Getter:
    """A function that returns the first present value of a path's alternatives. Blank text counts as absent."""
    getters = [_by_keys(one.keys) for one in found]
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


def _text(path: str, kind: str, avro: AvroType, what: str = "") -> _Text:
    get = _getter(_found(path, avro))

    def text(data: Decoded, faults: _Faults) -> str | None:
        value = get(data)
        if value is None or type(value) is str:
            return value
        found = _as_text(value)
        if found is None:
            faults.append(_unusable(kind, what or kind, value))
        return found

    return text


def _custom(mapping: Mapping, avro: AvroType) -> _Custom:
    labelled = list(mapping.labelled("custom_identifiers"))
    if not labelled:
        return lambda _data, _faults: _NO_CUSTOM
    if labelled[0][0]:
        getters = [(name, _text(path, "custom", avro, f"custom_identifiers {name}")) for name, path in labelled]
        return lambda data, faults: tuple(
            (name, value) for name, get in getters if (value := get(data, faults)) is not None
        )
    get = _getter(find(avro, labelled[0][1]))

    def custom(data: Decoded, faults: _Faults) -> tuple[tuple[str, str], ...]:
        value = get(data)
        if not value:
            return _NO_CUSTOM
        pairs = value.items() if type(value) is dict else value if type(value) is list else (value,)
        return tuple(pair for item in pairs if (pair := _pair(item, faults)) is not None)

    return custom


def _pair(item: object, faults: _Faults) -> tuple[str, str] | None:
    """One custom identifier: an entry of a map, or a record."""
    if type(item) is dict and "name" in item and "value" in item:
        item = (item["name"], item["value"])
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


def _attributes(mapping: Mapping, avro: AvroType, named: Naming) -> _Attributes:
    if not mapping.attributes:
        return lambda _data: {}
    readers = [(_by_keys(found.keys), _fields(mapping, avro, found, named)) for found in find(avro, mapping.attributes)]
    if not readers and not find(avro, mapping.attributes, left_out=True):
        return _none_there(f"this schema has no {mapping.attributes}")

    def attributes(data: Decoded) -> dict[str, object]:
        for get, read in readers:
            value = get(data)
            if type(value) is dict:
                return read(value)
        return {}

    return attributes


def _none_there(why: str) -> _Attributes:
    """A function that refuses each record: to pass it over would lose what it says, in silence."""

    def refuse(_data: Decoded) -> dict[str, object]:
        raise Undecodable(f"attributes: {why}; mend WORKER_MAPPING__ATTRIBUTES, or leave such records out by its rules")

    return refuse


def _fields(mapping: Mapping, avro: AvroType, found: Found, named: Naming) -> _Attributes:
    """A function that reads the attributes from the map or record that was found."""
    records = [schema for schema in found.types if is_record(schema)]
    if records:
        return _of_record(mapping, avro, found.keys, records)
    if any(kind_of(schema) != "map" for schema in found.types):
        raise Undecodable(f"attributes: {'.'.join(found.keys)} is neither a map nor a record in this schema")
    if not (mapping.exclude or mapping.prefix or mapping.rename):
        return lambda value: value
    return lambda value: {new: item for name, item in value.items() if (new := named(name)) is not None}


def _of_record(mapping: Mapping, avro: AvroType, at: Keys, records: list[dict[str, Any]]) -> _Attributes:
    used = {
        one.keys
        for setting, path in mapping.paths()
        if setting != "attributes"
        for one in find(avro, path)
    }  # fmt: skip
    if not any(_may_be_scalar(avro, declared["type"]) for record in records for declared in record["fields"]):
        return _none_there(f"no field of {mapping.attributes} is a scalar in this schema")
    names: dict[str, str] = {}
    for record in records:
        for declared in record["fields"]:
            name = declared["name"]
            new = _destination_name(mapping, tuple(names_of(declared)))
            if new is None or LEFT_OUT in declared or (*at, name) in used or not _may_be_scalar(avro, declared["type"]):
                continue
            names[name] = new
    if len(set(names.values())) < len(names):
        raise Undecodable("attributes: rename and prefix give two fields of this schema the same name")
    pairs = tuple(names.items())
    if len(records) == 1:
        return lambda value: {new: value[name] for name, new in pairs}
    return lambda value: {new: value[name] for name, new in pairs if name in value}


def _destination_name(mapping: Mapping, names: tuple[str, ...]) -> str | None:
    """The attribute's name at the destination. None if it is excluded. `names` is the field's name and its aliases."""
    if any(fnmatchcase(name, pattern) for name in names for pattern in mapping.exclude):
        return None
    for name in names:
        if name in mapping.rename:
            return mapping.rename[name]
    return mapping.prefix + names[0]


def _may_be_scalar(avro: AvroType, schema: Any) -> bool:  # noqa: ANN401 - Avro's schemas are str, dict or list
    return any(
        kind_of(branch) in _SCALARS or (isinstance(branch, dict) and "logicalType" in branch)
        for branch in avro.branches(schema)
    )
