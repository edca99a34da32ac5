"""What the destination holds of a user, and whether it is what was sent.

The read endpoint gives every value as a string, whatever type was sent. So a number is compared by its value, a boolean
in any case, and a date or time by the moment that it means. Any other text must be the same, character by character:
`02134` that comes back as `2134` is another value.

The sandbox writes these strings, and shares no code with this file: if it did, both could make the same mistake. A test
holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
# Python alone would also read 20240131 as a date, which is as likely a number.
_DATE: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ](?P<minute>[0-9]{2}:[0-9]{2})(:(?P<second>[0-9]{2})(\.(?P<fraction>[0-9]{1,12}))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)
# An attribute's name is `name` in the documentation's sample, and `attribute` in its list of required fields.
_NAMES: Final = ("name", "attribute")


def read_held(body: str) -> Mapping[str, object] | None:
    """A user's attributes from the body of the read endpoint's answer, without nulls. None if it is no such answer."""
    try:
        document = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):  # also a number of 5,000 digits
        return None
    if not isinstance(document, list):
        return None
    held: dict[str, object] = {}
    for item in document:
        name = next((item[key] for key in _NAMES if key in item), None) if isinstance(item, dict) else None
        if not isinstance(name, str):
            return None
        if (value := item.get("value")) is not None:
            held[name] = value
    return held


def gives_back(sent: object, returned: object) -> bool:
    """Whether the read endpoint's value is what was sent. A value that is no string is compared as JSON."""
    if not isinstance(returned, str):
        return same_json(sent, returned)
    if isinstance(sent, bool):
        return returned.lower() == ("true" if sent else "false")
    if isinstance(sent, int | float | Decimal):
        return _number(returned) == _decimal(sent)
    if not isinstance(sent, str):
        return False
    return sent == returned or ((moment := _moment(sent)) is not None and moment == _moment(returned))


def same_json(sent: object, held: object) -> bool:
    """Whether both are the same JSON. Python alone takes `1` and `True` for equal."""
    return _json_kind(sent) is _json_kind(held) and sent == held


def _json_kind(value: object) -> type:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal
    return type(value)


def _decimal(number: float | Decimal) -> Decimal:
    """The number as it is sent: a float in its shortest digits."""
    return Decimal(float.__repr__(number)) if isinstance(number, float) else Decimal(number)


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent past all bounds
        return None


def _moment(text: str) -> tuple[datetime, str] | None:
    """When that is, to the minute or second, and the digits of the second's fraction. Without a zone it is UTC."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    zone = (found["zone"] or "Z").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{found['minute'] or '00:00'}:{found['second'] or '00'}{zone}")
        return moment.astimezone(UTC), (found["fraction"] or "").rstrip("0")
    except (ValueError, OverflowError):  # no such day, or a zone that leads past year 1 or 9999
        return None
