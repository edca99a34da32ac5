"""Writes a call as the HTTP request that Attentive's reference (docs.attentive.com) describes.

Writes the JSON by hand: `json` cannot write a Decimal exactly, and by way of a float a value such as
0.1000000000000000055 would change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring as _text  # what json.dumps uses for text, without its detours
from typing import Final
from urllib.parse import quote, urlencode

from worker.attentive.message import Message
from worker.core.model import Call, Scalar, User

ATTRIBUTES_PATH = "attributes/custom"
ACCOUNT_PATH = "me"

LOOKUP_BYTES_MAX: Final = 1024 * 1024
"""A user's attributes together, as the read endpoint gives them: some thousands. A longer answer cannot be read."""

EXPONENT_MAX = 10_000
"""Bound of a number's exponent. We write it out as digits, so `Decimal("1E+1000000000")` would take a gigabyte."""


_PRINTED_MAX: Final = 10**18


def headers(token: str, user_agent: str) -> tuple[tuple[str, str], ...]:
    """The headers that every request carries.

    They ask for an answer without compression: a compressed one could unpack into gigabytes.
    """
    return (
        ("Authorization", f"Bearer {token}"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", user_agent),
    )


def get(url: str, token: str, user_agent: str) -> Message:
    """A request that only reads."""
    return Message("GET", url, headers(token, user_agent))


def lookup(url: str, user: User, token: str, user_agent: str) -> Message:
    """`GET /attributes/custom`: by the user's phone if there is one, else by the email. The API takes exactly one.

    The query writes a phone's + as %2B: a + in a query means a space.
    """
    named = {"email": user.email or ""} if user.phone is None else {"phone": user.phone}
    query = urlencode(named, quote_via=quote, safe="")
    return Message("GET", f"{url}?{query}", headers(token, user_agent), answer_bytes_max=LOOKUP_BYTES_MAX)


def upsert(url: str, call: Call, token: str, user_agent: str) -> Message:
    """`POST /attributes/custom` for one call.

    Raises:
        ValueError: what `body` raises.
    """
    return Message("POST", url, _upsert_headers(token, user_agent), body(call.user, call.properties))


@lru_cache(maxsize=8)
def _upsert_headers(token: str, user_agent: str) -> tuple[tuple[str, str], ...]:
    return (*headers(token, user_agent), ("Content-Type", "application/json"))


def body(user: User, properties: Mapping[str, Scalar]) -> bytes:
    """The JSON of one upsert, in UTF-8.

    Raises:
        ValueError: no identifier, NaN or infinity, an exponent past `EXPONENT_MAX`, or text that is not Unicode
            (a lone surrogate). Preflight refuses all of these, so here it means a bug. The text names the
            attribute, never a value.
    """
    attributes = ",".join(f"{_text(name)}:{_scalar(name, value)}" for name, value in properties.items())
    text = f'{{"properties":{{{attributes}}},"user":{_user(user)}}}'
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass  # Raise ours outside of this block: inside, it would carry this one, which holds the body, as its context.
    raise ValueError("an attribute or identifier holds a lone surrogate, which UTF-8 cannot carry")


def _user(user: User) -> str:
    named = []
    if user.phone is not None:
        named.append(f'"phone":{_text(user.phone)}')
    if user.email is not None:
        named.append(f'"email":{_text(user.email)}')
    external = []
    if user.client_user_id is not None:
        external.append(f'"clientUserId":{_text(user.client_user_id)}')
    if user.custom:
        pairs = ",".join(f'{{"name":{_text(name)},"value":{_text(value)}}}' for name, value in user.custom)
        external.append(f'"customIdentifiers":[{pairs}]')
    if external:
        named.append(f'"externalIdentifiers":{{{",".join(external)}}}')
    if not named:
        raise ValueError("a call without an identifier cannot be sent")
    return f"{{{','.join(named)}}}"


def _scalar(name: str, value: Scalar) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"attribute {name!r}: NaN and infinity are not JSON")
        return float.__repr__(value)
    if isinstance(value, int) and -_PRINTED_MAX < value < _PRINTED_MAX:
        return str(value)
    # Through Decimal, since Python refuses to print an int of more than 4300 digits.
    return _plain(name, Decimal(value))


def _plain(name: str, number: Decimal) -> str:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"attribute {name!r}: NaN and infinity are not JSON")  # noqa: TRY004 - a value, not a type
    if abs(exponent) > EXPONENT_MAX:
        raise ValueError(f"attribute {name!r}: a number with an exponent past {EXPONENT_MAX} is not written out")
    return format(number, "f")
