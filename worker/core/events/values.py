"""What a decoded value means: a text, a time, a custom identifier, or none of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from worker.core.avro.render import Nanoseconds, Unsupported, scalar
from worker.core.model import Unusable

NO_CUSTOM: tuple[tuple[str, str], ...] = ()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FLOAT_WHOLE_MAX = 2**53  # above it, neighbours are the same float
_WORDS = {None: "null", False: "false", True: "true"}


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


def shown(value: object) -> str | None:
    """A value as text, for `ignore_when`. None if it has no such form: an array, an object, bytes."""
    if type(value) is str:
        return value
    try:
        plain = scalar(value)
    except Unsupported:
        return None
    if plain is None or plain is True or plain is False:
        return _WORDS[plain]
    if type(plain) is Decimal:
        digits = format(plain, "f")  # arithmetic would round it to the context's precision
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(int(plain)) if type(plain) is float and plain.is_integer() else str(plain)


def present(*values: object) -> object:
    """The first value that is there. Blank text counts as absent."""
    for value in values:
        if value is not None and not (type(value) is str and not value.strip()):
            return value
    return None


def as_text(value: object) -> str | None:
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


def unusable(kind: str, what: str, value: object) -> Unusable:
    """The fault of a field that should hold an identifier, and holds this."""
    return Unusable(kind, f"{what}: the field holds {type(value).__name__}; text or a whole number is needed")


def custom_of(value: object, faults: list[Unusable]) -> tuple[tuple[str, str], ...]:
    """The custom identifiers in a map, or in an array of records. Adds what is none to the faults."""
    if not value:
        return NO_CUSTOM
    pairs = value.items() if type(value) is dict else value if type(value) is list else (value,)
    return tuple([pair for item in pairs if (pair := _pair(item, faults)) is not None])


def _pair(item: object, faults: list[Unusable]) -> tuple[str, str] | None:
    """One custom identifier: an entry of a map, or a record."""
    if type(item) is dict and "value" in item and ("name" in item or "key" in item):
        item = (item["name"] if "name" in item else item["key"], item["value"])
    if type(item) is not tuple:
        fault = "custom_identifiers: neither a map nor an array of records with the fields name and value"
        faults.append(Unusable("custom", fault))
        return None
    if item[1] is None:
        return None
    name, value = as_text(item[0]), as_text(item[1])
    if name is None or value is None:
        faults.append(unusable("custom", "custom_identifiers", item[0] if name is None else item[1]))
        return None
    return name, value
