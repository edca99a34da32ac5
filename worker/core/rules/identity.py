"""Who an event is about: which identifier names the user, which ones are sent, and which ones the API would refuse."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from worker.core.model import Unusable, User, UserKey
from worker.core.rules.identifiers import (
    AS_THEY_ARE,
    CHARACTERS_MAX,
    REGIONS,
    Invalid,
    email_address,
    folded_domain,
    phone_number,
)

KINDS = ("phone", "email", "client_user_id", "custom")
SENDS = ("first", "all")
CASES = ("keep", "lower")
INVALIDS = ("letter", "next")
_NAME_SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """How users are named.

    Attributes:
        order: Kinds of identifier. The first one that an event has names its user, for coalescing and order. An event
            with none of them has no identity.
        send: `first` sends only the identifier that names the user. `all` sends every identifier of the event, also of
            kinds that `order` leaves out.
        phone_region: A country (`US`): phones written as people do there are read as its numbers. None: a phone must
            be in E.164 form.
        email_case: `keep` sends an address as it is and compares its domain alone in lower case. `lower` sends and
            compares all of it in lower case.
        invalid: What an invalid identifier makes of an event that it would name: a `letter`, or the `next` one in the
            order names it. One that names nobody is dropped either way.

    Raises:
        ValueError: A kind or another word is unknown, or a kind is named twice; says which are known.
    """

    order: tuple[str, ...] = KINDS
    send: str = "first"
    phone_region: str | None = None
    email_case: str = "keep"
    invalid: str = "letter"

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.order if kind not in KINDS]
        if unknown or not self.order or len(set(self.order)) < len(self.order):
            raise ValueError(
                f"the identity order takes each of {', '.join(KINDS)} at most once, and at least one of them"
            )
        for name, known in (("send", SENDS), ("email_case", CASES), ("invalid", INVALIDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"identity {name} is one of {', '.join(known)}")
        if self.phone_region is not None and self.phone_region not in REGIONS:
            raise ValueError("identity phone_region is a country by its two letters, such as US")


@dataclass(slots=True)  # not frozen: one is made of every event
class Named:
    """An event's user by the rules.

    `sent` has the identifiers to send; None: the key's alone. `fault` says what is wrong with the identifier that would
    have named it, without its value. `dropped` counts the invalid ones that are left out of what is sent.
    """

    key: UserKey | None
    sent: User | None = None
    fault: str | None = None
    dropped: int = 0


def name_user(user: User, rules: IdentityRules, unusable: Sequence[Unusable] = ()) -> Named:
    """Who the user is, and the identifiers to send. If `key` and `fault` are both None, there is no identifier.

    Empty and blank identifiers count as absent.
    """
    if not unusable and rules.send == "first":
        for kind in rules.order:
            if value := getattr(user, kind):
                if kind in AS_THEY_ARE and AS_THEY_ARE[kind](value):
                    return Named(UserKey(kind, "", value))
                break
    return _name_closely(user, rules, unusable)


def _name_closely(user: User, rules: IdentityRules, unusable: Sequence[Unusable]) -> Named:
    faults: list[str] = []
    for kind in rules.order:
        if unusable:
            faults += [one.fault for one in unusable if one.kind == kind]
        for name, value in _present_of(user, kind):
            if faults and rules.invalid == "letter":
                break
            try:
                own = canonical(kind, name, value, rules)
            except Invalid as why:
                faults.append(str(why))
                continue
            folded = folded_domain(own) if kind == "email" else own
            key = UserKey(kind, name, folded)
            if rules.send == "first":
                return Named(key, None if folded == own else User(email=own), dropped=len(faults))
            return _with_all(key, user, rules, len(unusable))
    return Named(None, fault=faults[0] if faults else None)


def canonical(kind: str, name: str, value: str, rules: IdentityRules) -> str:
    """An identifier as it is sent.

    Raises:
        Invalid: The API would refuse it. Says why, without its value.
    """
    try:
        if len(value) > CHARACTERS_MAX:
            raise Invalid(f"longer than {CHARACTERS_MAX} characters")  # noqa: TRY301 - said with its kind, as the others
        if kind == "phone":
            return phone_number(value, rules.phone_region)
        if kind == "email":
            return email_address(value, lower=rules.email_case == "lower")
    except Invalid as why:
        what = kind if kind != "custom" else f"custom identifier {name[:_NAME_SHOWN_MAX]!r}"
        raise Invalid(f"{what}: {why}") from None
    if kind == "custom" and not _present(name):
        raise Invalid("custom identifier: its name is empty")
    if kind == "custom" and len(name) > CHARACTERS_MAX:
        raise Invalid(f"custom identifier: its name is longer than {CHARACTERS_MAX} characters")
    return value


def compared(kind: str, name: str, value: str, rules: IdentityRules) -> str:
    """An identifier as it is compared with others. An invalid one is compared as it is."""
    with suppress(Invalid):
        value = canonical(kind, name, value, rules)
    return folded_domain(value) if kind == "email" else value


def _present_of(user: User, kind: str) -> Sequence[tuple[str, str]]:
    """The present identifiers of a kind, as (name, value). Only custom ones have a name, and may be several."""
    if kind == "custom":
        return [(name, value) for name, value in user.custom if _present(value)]
    value: str | None = getattr(user, kind)
    return (("", value),) if value is not None and _present(value) else ()


def _present(value: str | None) -> bool:
    return value is not None and value != "" and not value.isspace()


def _with_all(key: UserKey, user: User, rules: IdentityRules, dropped: int) -> Named:
    """With every identifier that is valid. `dropped` of the event's are known to be none already."""
    sent: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for kind, found in sent.items():
        for name, value in _present_of(user, kind):
            try:
                found.append((name, canonical(kind, name, value, rules)))
            except Invalid:
                dropped += 1
    plain = {kind: sent[kind][0][1] if sent[kind] else None for kind in KINDS if kind != "custom"}
    return Named(key, User(**plain, custom=tuple(sent["custom"])), dropped=dropped)
