"""The form of single identifiers: what a phone or an address looks like as it is sent, and what can be neither.

What only some mail systems object to is left to the API: two dots in a row, an underscore in a host's name, a special
domain. An address that none could deliver to (no `@`, a space, a name around it) is refused here, before any call.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberFormat, ValidationResult

CHARACTERS_MAX: Final = 100
"""Documented for the Identity API only. We assume the same limit here."""
REGIONS: Final[frozenset[str]] = frozenset(phonenumbers.SUPPORTED_REGIONS)
_CACHED = 65_536
"""Bound of the cached verdicts. A user changes more than once, and asking the library costs 10 to 20 µs."""

_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{9}", re.ASCII)
"""Judged many times faster than by the library: ten digits, of which it strips no prefix if the first is not 0 or 1."""
_WRITTEN_PHONE = re.compile(r"\s*[+\uff0b]?[\d\s()./\u2010-\u2015\u2212-]+")
"""A number as people write it. The library would read one out of any text, and letters as the digits of their keys."""
_PLAIN_EMAIL = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,20}", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_NEVER_IN_LOCAL = frozenset(' ()<>[]:;@\\,"')
_NEVER_IN_DOMAIN = _NEVER_IN_LOCAL | frozenset("!#$%&'*+/=?^`{|}~")


AS_THEY_ARE: Final = {
    "phone": _NORTH_AMERICAN.fullmatch,
    "email": re.compile(r"(?=.{6,100}\Z)" + _PLAIN_EMAIL.pattern, re.ASCII).fullmatch,
    "client_user_id": re.compile(r"\S.{0,99}", re.DOTALL).fullmatch,
}
"""By kind, a quick look at what is valid, sent and compared as it is, whatever the rules: most of all identifiers."""


class Invalid(Exception):
    """What is wrong with an identifier. The text never repeats it."""


def phone_number(value: str, region: str | None) -> str:
    """The number in E.164 form.

    With a region, it may be written as people do there, or with a country code. Without one it must have the form.
    Whether it is assigned is not checked: that changes weekly, and the API's own example, +13115552368, is not.

    Raises:
        Invalid: It is no number of a length that its country has.
    """
    if _NORTH_AMERICAN.fullmatch(value):
        return value
    number = _e164(value, region)
    if number is None or (region is None and number != value):
        if region is None:
            raise Invalid("not in E.164 form (+, country code and number, digits only, of a length its country has)")
        raise Invalid(f"neither a number of {region} nor one with a country code, of a length its country has")
    return number


@lru_cache(maxsize=_CACHED)
def _e164(value: str, region: str | None) -> str | None:
    if not _WRITTEN_PHONE.fullmatch(value):
        return None
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    # A local number, without its area code, is "possible", too.
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    text: str = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return text


def email_address(value: str, *, lower: bool) -> str:
    """The address as it is sent.

    In lower case by Unicode's own mapping, which knows no language: `I` becomes `i` also in Turkish, and `ß` stays.

    Raises:
        Invalid: No mail system could deliver to it.
    """
    if not _PLAIN_EMAIL.fullmatch(value) and not _may_be_email(value):
        raise Invalid("not an email address")
    return value.lower() if lower else value


def folded_domain(email: str) -> str:
    """An address as it is compared: its domain in lower case."""
    local, at, domain = email.rpartition("@")
    return local + at + domain.lower()


@lru_cache(maxsize=_CACHED)
def _may_be_email(value: str) -> bool:
    local, at, domain = value.rpartition("@")
    if not at or not value.isprintable():  # a space is printable; a control character or a lone surrogate is not
        return False
    plain = bool(local) and _NEVER_IN_LOCAL.isdisjoint(local) and not any(map(str.isspace, local))
    return (plain or bool(_QUOTED.fullmatch(local))) and (_is_literal(domain) or all(map(_is_label, domain.split("."))))


def _is_label(label: str) -> bool:
    return (
        bool(label)
        and _NEVER_IN_DOMAIN.isdisjoint(label)
        and not any(map(str.isspace, label))
        and not label.startswith("-")
        and not label.endswith("-")
    )


def _is_literal(domain: str) -> bool:
    """Whether it is an address of the network in brackets."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return False
    inside = domain[1:-1]
    try:
        if inside.lower().startswith("ipv6:"):
            IPv6Address(inside[5:])
        else:
            IPv4Address(inside)
    except AddressValueError:
        return False
    return True
