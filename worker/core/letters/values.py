"""A lost value as its dead letter shows it: exactly in the schema's `value`, else as `text`."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final
from uuid import UUID

TEXT_MAX_BYTES: Final = 4096
"""Bound of an attribute's `text` and of the response's body (contract of the dead-letter schema)."""

# Bounds instead of a range: for a subclass of int, `in` would count through the whole range.
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Json:
    """JSON of a value that the schema's `value` cannot represent, such as an array."""

    text: str = field(repr=False)


def compact(raw: object) -> object:
    """The value as a letter holds it until it is written: a scalar as it is, anything else as its `Json`.

    An array of a thousand small maps takes fifty times its Avro size in Python's memory. Its JSON takes 4 KiB at most.
    """
    match raw:
        case None | bool() | float() | str() | Decimal() | date() | time() | UUID() | Json():
            return raw
        case int() if _LONG_MIN <= raw <= _LONG_MAX:
            return raw
        case _:
            return Json(_json(raw))


def value_and_text(raw: object) -> tuple[object, str | None]:
    """A raw or compact value as the schema's `value` and, if `value` cannot represent it exactly, as `text`."""
    match compact(raw):
        case Json() as json_of_it:
            return None, json_of_it.text
        case Decimal() as number:
            nearest = float(number) if number.is_finite() else math.nan
            return (nearest if math.isfinite(nearest) else None), utf8(str(number), TEXT_MAX_BYTES)
        case str() as text:
            return utf8(text), None
        case (datetime() | time()) as moment:
            return moment.isoformat(), None
        case UUID() as identifier:
            return str(identifier), None
        case value:  # null, boolean, long, double, date: the schema's union has each of these
            return value, None


def utf8(text: str, max_bytes: int | None = None) -> str:
    """Text that Avro can encode (lone surrogates are escaped), of at most `max_bytes` in UTF-8."""
    data = text.encode("utf-8", "backslashreplace")
    return data[:max_bytes].decode("utf-8", "ignore")


def _json(raw: object) -> str:
    """JSON of any value, cut at `TEXT_MAX_BYTES`. Stops encoding there, so a huge value costs no more."""
    parts: list[str] = []
    size = 0
    try:
        for part in json.JSONEncoder(ensure_ascii=False, default=_json_default).iterencode(raw):
            parts.append(part[:TEXT_MAX_BYTES])
            size += len(part)
            if size > TEXT_MAX_BYTES:
                break
    except (RecursionError, TypeError, ValueError):
        # Nested too deep, a key that is not a string, an integer of thousands of digits: keep what was encoded so far.
        parts.append("…")
    return utf8("".join(parts), TEXT_MAX_BYTES)


def _json_default(raw: object) -> object:
    if isinstance(raw, bytes | bytearray | memoryview):
        # 4 characters for 3 bytes: more than TEXT_MAX_BYTES would be cut anyway.
        return base64.b64encode(bytes(raw[:TEXT_MAX_BYTES])).decode()
    return str(raw)
