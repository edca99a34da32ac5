"""Who an event is about: which identifier names the user, which ones are sent, and which ones the API would refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import email_validator
import phonenumbers

from worker.core.model import User, UserKey

KINDS = ("phone", "email", "client_user_id", "custom")
SENDS = ("first", "all")
_IDENTIFIER_CHARACTERS_MAX = 100
"""Documented for the Identity API only. We assume the same limit here."""
_CACHED = 65_536
"""Bound of the cached verdicts. A user changes more than once, and asking the library costs 10 to 20 µs."""
_LOCAL_PART_MAX, _LABEL_MAX = 64, 63
_NAME_SHOWN_MAX = 60

_PLAIN_EMAIL = re.compile(
    r"[a-z0-9]+(?:[._+-][a-z0-9]+)*@[a-z0-9]+(?:[.-][a-z0-9]+)*\.[a-z]{2,20}", re.ASCII | re.IGNORECASE
)
"""The common form of an address, checked many times faster than by the library. The library judges all others."""
_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{9}", re.ASCII)
"""Likewise for country code 1: ten digits, and the library strips no prefix if the first one is not 0 or 1."""


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """How users are named.

    Attributes:
        order: Kinds of identifier. The first one that an event has names its user, for coalescing and order. An event
            with none of them has no identity.
        send: `first` sends only the identifier that names the user. `all` sends every identifier of the event, also of
            kinds that `order` leaves out.

    Raises:
        ValueError: A kind or `send` is unknown, or a kind is named twice; says which are known.
    """

    order: tuple[str, ...] = KINDS
    send: str = "first"

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.order if kind not in KINDS]
        if unknown or not self.order or len(set(self.order)) < len(self.order):
            raise ValueError(
                f"the identity order takes each of {', '.join(KINDS)} at most once, and at least one of them"
            )
        if self.send not in SENDS:
            raise ValueError(f"identity send is one of {', '.join(SENDS)}")


class Named(NamedTuple):
    """An event's user by the rules. `fault` says what is wrong with an identifier, without its value."""

    key: UserKey | None
    user: User
    fault: str | None = None


_NOBODY = User()
_NOT_NAMED = Named(None, _NOBODY)


def name_user(user: User, rules: IdentityRules) -> Named:
    """The user's key and the identifiers to send. If `key` and `fault` are both None, there is no identifier.

    Identifiers are sent as given. Empty and blank ones count as absent.
    """
    for kind in rules.order:
        identifier = _first_of(user, kind)
        if identifier is None:
            continue
        name, value = identifier
        fault = _fault(kind, name, value)
        if fault is not None:
            return Named(None, _NOBODY, fault)
        key = UserKey(kind, name, _folded_domain(value) if kind == "email" else value)
        if rules.send == "first":
            return Named(key, _only(kind, name, value))
        return _with_all(key, user)
    return _NOT_NAMED


def _first_of(user: User, kind: str) -> tuple[str, str] | None:
    """The first present identifier of a kind, as (name, value). Only custom ones have a name."""
    if kind == "custom":
        return next((pair for pair in user.custom if _present(pair[1])), None)
    value: str | None = getattr(user, kind)
    return ("", value) if _present(value) and value is not None else None


def _present(value: str | None) -> bool:
    return value is not None and value != "" and not value.isspace()


def _only(kind: str, name: str, value: str) -> User:
    if kind == "phone":
        return User(phone=value)
    if kind == "email":
        return User(email=value)
    if kind == "client_user_id":
        return User(client_user_id=value)
    return User(custom=((name, value),))


def _with_all(key: UserKey, user: User) -> Named:
    sent = User(
        phone=user.phone if _present(user.phone) else None,
        email=user.email if _present(user.email) else None,
        client_user_id=user.client_user_id if _present(user.client_user_id) else None,
        custom=tuple(pair for pair in user.custom if _present(pair[1])),
    )
    identifiers = [("phone", "", sent.phone), ("email", "", sent.email), ("client_user_id", "", sent.client_user_id)]
    identifiers += [("custom", name, value) for name, value in sent.custom]
    for kind, name, value in identifiers:
        fault = None if value is None else _fault(kind, name, value)
        if fault is not None:
            return Named(None, _NOBODY, fault)
    return Named(key, sent)


def _fault(kind: str, name: str, value: str) -> str | None:
    """Why the API would refuse an identifier; None if it would not."""
    what = kind if kind != "custom" else f"custom identifier {name[:_NAME_SHOWN_MAX]!r}"
    if len(value) > _IDENTIFIER_CHARACTERS_MAX:
        return f"{what}: longer than {_IDENTIFIER_CHARACTERS_MAX} characters"
    if kind == "phone" and not _is_e164(value):
        return "phone: not in E.164 form (+, country code and number, digits only, of a length its country has)"
    if kind == "email" and not _is_email(value):
        return "email: not an email address"
    if kind == "custom" and not _present(name):
        return "custom identifier: its name is empty"
    if kind == "custom" and len(name) > _IDENTIFIER_CHARACTERS_MAX:
        return f"custom identifier: its name is longer than {_IDENTIFIER_CHARACTERS_MAX} characters"
    return None


def _folded_domain(email: str) -> str:
    local, at, domain = email.rpartition("@")
    return local + at + domain.lower()


def _is_e164(value: str) -> bool:
    """Whether the number is in E.164 form, with a possible length.

    Does not check whether it is assigned: assignments change weekly, and the API's own example, +13115552368, is not.
    """
    return _NORTH_AMERICAN.fullmatch(value) is not None or _is_possible_e164(value)


@lru_cache(maxsize=_CACHED)
def _is_possible_e164(value: str) -> bool:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        return False
    own_form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return own_form == value and phonenumbers.is_possible_number(number)


def _is_email(value: str) -> bool:
    local, _, domain = value.partition("@")
    plain = _PLAIN_EMAIL.fullmatch(value) and "--" not in value
    return (plain and len(local) <= _LOCAL_PART_MAX and len(domain) <= _LABEL_MAX) or _is_library_email(value)


@lru_cache(maxsize=_CACHED)
def _is_library_email(value: str) -> bool:
    # The library refuses reserved domains such as .test and .local. They are valid, and people test with them. So let
    # it judge the rest of the address, under a domain that is not reserved.
    if value.rpartition(".")[2].rpartition("@")[2].lower() in email_validator.SPECIAL_USE_DOMAIN_NAMES:
        value += ".example"
    try:
        email_validator.validate_email(
            value, check_deliverability=False, globally_deliverable=False, allow_quoted_local=True
        )
    except email_validator.EmailNotValidError:
        return False
    return True
