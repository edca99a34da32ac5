"""Readers of Avro's logical types, and attribute values as the destination takes them.

fastavro's own readers fail the whole record on a date after the year 9999 or on a malformed UUID, round a decimal that
has more digits than its schema says, and do not know nanoseconds. The readers here never fail: a number that is not a
date becomes `OutOfRange`, and preflight refuses only that attribute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro.read

from worker.core.avro.primitives import Misfit, read_bytes, read_int
from worker.core.model import Scalar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_LOCAL = datetime(1970, 1, 1)  # noqa: DTZ001 - Avro's local timestamps have no zone
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_MICROS = 86_400_000_000
_DECIMAL_BYTES_MAX = 64
"""154 digits, far more than any real decimal has. Longer ones stay bytes, and preflight refuses them."""
_SCALE_MAX = 1_000
_SCALE_DIGITS_MAX = 5


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """A number that is not a date, time or timestamp of the calendar. `units` is the number as Avro has it."""

    units: int = field(repr=False)

    def __str__(self) -> str:
        return str(self.units)


@dataclass(frozen=True, slots=True)
class Nanoseconds:
    """A timestamp finer than a `datetime` can hold: nanoseconds since 1970, in UTC or without a zone."""

    count: int = field(repr=False)
    local: bool = False

    def __str__(self) -> str:
        seconds, nanos = divmod(self.count, 1_000_000_000)
        # Every 64-bit count of nanoseconds lies between the years 1677 and 2262.
        text = (_EPOCH_LOCAL + timedelta(seconds=seconds)).isoformat()
        return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + ("" if self.local else "Z")


class Unsupported(Exception):
    """The destination cannot take this value. The message says what kind of value it is, never the value."""


def _date(days: int, _writer: object, _reader: object) -> date | OutOfRange:
    try:
        return date.fromordinal(days + _EPOCH_ORDINAL)
    except (ValueError, OverflowError):
        return OutOfRange(days)


def _timestamp(epoch: datetime, micros_per_unit: int) -> Callable[[int, object, object], datetime | OutOfRange]:
    def read(units: int, _writer: object, _reader: object) -> datetime | OutOfRange:
        try:
            return epoch + timedelta(microseconds=units * micros_per_unit)
        except OverflowError:
            return OutOfRange(units)

    return read


def _time(micros_per_unit: int) -> Callable[[int, object, object], time | OutOfRange]:
    def read(units: int, _writer: object, _reader: object) -> time | OutOfRange:
        micros = units * micros_per_unit
        if not 0 <= micros < _DAY_MICROS:
            return OutOfRange(units)
        seconds, micros = divmod(micros, 1_000_000)
        return time(seconds // 3600, seconds // 60 % 60, seconds % 60, micros)

    return read


def _time_nanos(units: int, _writer: object, _reader: object) -> str | OutOfRange:
    micros, nanos = divmod(units, 1_000)
    read = _time(1)(micros, None, None)
    if isinstance(read, OutOfRange):
        return OutOfRange(units)
    return (read.isoformat("microseconds") + f"{nanos:03d}").rstrip("0").rstrip(".")


def _decimal(data: bytes, writer: dict[str, Any], _reader: object) -> Decimal | bytes:
    if len(data) > _DECIMAL_BYTES_MAX:
        return data
    # From text, because decimal arithmetic rounds to the context's precision.
    return Decimal(f"{int.from_bytes(data, 'big', signed=True)}E-{writer.get('scale', 0)}")


def _big_decimal(data: bytes, _writer: object, _reader: object) -> Decimal | bytes:
    """A number with a scale of its own: inside, the digits as Avro's bytes, then the scale as Avro's int."""
    try:
        digits, at = read_bytes(data, 0)
        scale, _ = read_int(data, at)
    except (Misfit, IndexError):
        return data
    if not digits or abs(scale) > _SCALE_MAX or len(digits) > _DECIMAL_BYTES_MAX:
        return data
    return Decimal(f"{int.from_bytes(digits, 'big', signed=True)}E{-scale}")


def _variable_scale(value: dict[str, Any], _writer: object, _reader: object) -> object:
    """Debezium's number with a scale of its own: Oracle's NUMBER, or Postgres' numeric without a precision."""
    scale, data = value.get("scale"), value.get("value")
    if type(scale) is not int or type(data) is not bytes or abs(scale) > _SCALE_MAX or len(data) > _DECIMAL_BYTES_MAX:
        return value
    return Decimal(f"{int.from_bytes(data, 'big', signed=True)}E{-scale}")


def _uuid_bytes(data: bytes, _writer: object, _reader: object) -> str:
    return str(UUID(bytes=data))


_READERS: dict[tuple[str, str], Callable[..., object]] = {
    ("int", "date"): _date,
    ("int", "time-millis"): _time(1_000),
    ("long", "time-micros"): _time(1),
    ("long", "timestamp-millis"): _timestamp(_EPOCH, 1_000),
    ("long", "timestamp-micros"): _timestamp(_EPOCH, 1),
    ("long", "timestamp-nanos"): lambda units, _writer, _reader: Nanoseconds(units),
    ("long", "time-nanos"): _time_nanos,
    ("long", "local-timestamp-millis"): _timestamp(_EPOCH_LOCAL, 1_000),
    ("long", "local-timestamp-micros"): _timestamp(_EPOCH_LOCAL, 1),
    ("long", "local-timestamp-nanos"): lambda units, _writer, _reader: Nanoseconds(units, local=True),
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("bytes", "big-decimal"): _big_decimal,
    ("fixed", "uuid"): _uuid_bytes,
    ("record", "variable-scale-decimal"): _variable_scale,
}
_CONNECT: dict[str, str] = {
    "io.debezium.time.Date": "date",
    "io.debezium.time.Time": "time-millis",
    "io.debezium.time.MicroTime": "time-micros",
    "io.debezium.time.NanoTime": "time-nanos",
    "io.debezium.time.Timestamp": "timestamp-millis",
    "io.debezium.time.MicroTimestamp": "timestamp-micros",
    "io.debezium.time.NanoTimestamp": "timestamp-nanos",
    "org.apache.kafka.connect.data.Date": "date",
    "org.apache.kafka.connect.data.Time": "time-millis",
    "org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
    "org.apache.kafka.connect.data.Decimal": "decimal",
    "io.debezium.data.VariableScaleDecimal": "variable-scale-decimal",
}
"""Types of Kafka Connect by name, and the logical type of Avro that reads the same.

Debezium's other types are text or plain numbers. Its timestamps without a zone count as UTC, as they do where its
connector writes Connect's own types.
"""
_PREFIX = "attribute-worker."
for (_base, _logical), _read in _READERS.items():
    # fastavro's documented way to add a logical type; the prefix keeps its own readers as they are.
    fastavro.read.LOGICAL_READERS[f"{_base}-{_PREFIX}{_logical}"] = _read


def logical_reader(schema: dict[str, Any], logical: object) -> str | None:
    """The name under which fastavro finds this module's reader. None: read the plain type.

    Avro's specification says to ignore a logical type that is unknown, does not fit its base, or has more digits behind
    the point than in all; then what Kafka Connect calls the type counts. A string's `uuid` needs no reader: the text is
    the value.

    Args:
        schema: The type. If it is Connect's decimal and lacks a scale, it gets Connect's.
        logical: Its logical type.
    """
    if isinstance(logical, str) and _fits(schema, logical) and (logical != "decimal" or _is_precise(schema)):
        return _PREFIX + logical
    connect = schema.get("connect.name", schema.get("name"))
    if not isinstance(connect, str) or connect not in _CONNECT:
        return None
    parameters = schema.get("connect.parameters")
    scale = parameters.get("scale") if isinstance(parameters, dict) else None
    if isinstance(scale, str) and scale.isascii() and scale.isdigit():
        schema.setdefault("scale", int(scale[:_SCALE_DIGITS_MAX]))
    return _PREFIX + _CONNECT[connect] if _fits(schema, _CONNECT[connect]) else None


def _fits(schema: dict[str, Any], logical: str) -> bool:
    base = schema.get("type")
    if not isinstance(base, str) or (base, logical) not in _READERS:
        return False
    if logical == "decimal":
        scale = schema.get("scale", 0)
        return type(scale) is int and 0 <= scale <= _SCALE_MAX
    return logical != "uuid" or schema.get("size") == len(UUID(int=0).bytes)


def _is_precise(decimal: dict[str, Any]) -> bool:
    """Whether a decimal has at least as many digits as its scale, and no more than its bytes hold."""
    precision = decimal.get("precision")
    digits = math.floor(math.log10(2) * (8 * decimal["size"] - 1)) if decimal["type"] == "fixed" else math.inf
    return type(precision) is int and 0 < precision <= digits and decimal.get("scale", 0) <= precision


def _float(value: float) -> float:
    if math.isfinite(value):
        return value
    raise Unsupported("NaN" if math.isnan(value) else "an infinite number")


def _instant(value: datetime) -> str:
    text = value.isoformat()
    local, zone = (text[:-6], "Z") if value.tzinfo is not None else (text, "")
    return (local.rstrip("0") if value.microsecond else local) + zone


def _time_text(value: time) -> str:
    text = value.isoformat()
    return text.rstrip("0") if value.microsecond else text


def _refuse(what: str) -> Callable[[object], Scalar]:
    def refuse(_value: object) -> Scalar:
        raise Unsupported(what)

    return refuse


RENDERERS: dict[type, Callable[[Any], Scalar]] = {
    float: _float,
    date: date.isoformat,
    datetime: _instant,
    time: _time_text,
    Nanoseconds: str,
    OutOfRange: _refuse("a date or time that the calendar does not have"),
    bytes: _refuse("bytes"),
    list: _refuse("an array"),
    dict: _refuse("an object"),
    tuple: _refuse("an array"),
}
"""By type, how to render the values that are not sent as they are."""

AS_THEY_ARE = frozenset({type(None), bool, int, str, Decimal})


def scalar(value: object) -> Scalar:
    """The value as the destination takes it.

    Renders dates as `YYYY-MM-DD`, timestamps as RFC 3339 in UTC with `Z`, local timestamps without a zone, and times as
    `HH:MM:SS`; fractions without trailing zeros.

    Raises:
        Unsupported: It is an array, an object, bytes, NaN, an infinity, or not a date of the calendar.
    """
    kind = type(value)
    if kind in AS_THEY_ARE:
        return value  # type: ignore[return-value]  # the set above is exactly Scalar
    renderer = RENDERERS.get(kind)
    if renderer is None:
        raise Unsupported(f"a value of type {kind.__name__}")
    return renderer(value)


def raw(value: object) -> object:
    """A refused value for a dead letter: as Avro gave it, with this module's own types as numbers or text."""
    if type(value) is OutOfRange:
        return value.units
    return str(value) if type(value) is Nanoseconds else value
