"""What is known before any call: who the user is, what may be sent, and what the API would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite

from worker.core.avro.render import Unsupported, raw, scalar
from worker.core.model import Checked, Event, Reason, Refusal, Scalar, User, UserKey
from worker.core.rules.identity import KINDS, IdentityRules, name_user
from worker.core.rules.policy import AttributeRules, Decision, Policy, is_text
from worker.core.rules.remembered import Keys, Names, OfUser, Unsure, key_of

_SHOWN_MAX = 5
_NAME_SHOWN_MAX = 60
_SENT_AS_THEY_ARE = frozenset({bool, int, float, str, Decimal})
_TEXTS = frozenset({str, bytes})


class Preflight:
    """Checks events against the rules.

    Keeps nothing of an event, except decisions about identifiers and attribute names.

        preflight = Preflight(IdentityRules(), AttributeRules(deny=("@forbidden", "internal_*")))
        preflight.check(Event(User(phone="+13115552368"), {"tier": "gold", "internal_score": 7}))
        # accepted: {"tier": "gold"}; refusals: one, sensitive_data, with internal_score

    Attributes:
        identity, attributes: the rules.
        unknown: the values that stand for one that is not known.
        keys: by kind of identifier, the users that such ones name.
        names: of attributes that are sent.
    """

    def __init__(self, identity: IdentityRules, attributes: AttributeRules) -> None:
        self.identity = identity
        self.attributes = attributes
        self._nulls = attributes.nulls
        self._policy = Policy(attributes)
        texts = attributes.unknown_values
        self.unknown: frozenset[object] = frozenset((*texts, *(text.encode() for text in texts)))
        self.keys = {kind: Keys(kind, identity, self.unknown) for kind in KINDS if kind != "custom"}
        self.names = Names(self._policy)

    def check(self, event: Event) -> Checked:
        """What of an event may be sent, and what is refused, with one refusal per reason.

        If the event has no valid identifier, it has one refusal with all the attributes, except those left out by rule.
        """
        user, unknown = event.user, self.unknown
        if unknown and (user.custom or not unknown.isdisjoint((user.phone, user.email, user.client_user_id))):
            user = _known(user, unknown)
        named = name_user(user, self.identity, event.unusable)
        if named.key is None:
            return self._unnamed(event.attributes, named.fault)
        accepted, rest = self._plain(event.attributes)
        if not rest:
            return Checked(named.key, named.sent, accepted, (), 0, named.dropped)
        refused, passed_over = self._sift(rest, accepted)
        return Checked(named.key, named.sent, accepted, refused, passed_over, named.dropped)

    def expect(self, waiting: Mapping[bytes, OfUser]) -> None:
        """From now on `keys` looks here for users who were checked before. By the user's key.

        Except for phones of a region: the library makes numbers of some texts that, written so, it would refuse.
        """
        for kind, keys in self.keys.items():
            if kind != "phone" or self.identity.phone_region is None:
                keys.waiting = waiting

    def decide(self, name: str) -> Decision:
        """What becomes of attributes of this name."""
        return self._policy.decide(name)

    def custom_key(self, custom: tuple[tuple[str, str], ...]) -> UserKey:
        """The user by custom identifiers.

        Raises:
            Unsure: As `key_of`; or one of them is not known.
        """
        if not self.unknown.isdisjoint(value for _, value in custom):
            raise Unsure
        return key_of(User(custom=custom), self.identity)

    def sendable(self, attributes: Mapping[str, object]) -> tuple[dict[str, Scalar], int]:
        """What of the attributes may be sent, and how many a rule left out.

        Raises:
            Unsure: One of them is refused.
        """
        accepted, rest = self._plain(attributes)
        refused, passed_over = self._sift(rest, accepted) if rest else ((), 0)
        if refused:
            raise Unsure
        return accepted, passed_over

    def sendable_value(self, value: object) -> Scalar:
        """A value that is not null, as it is sent. None if it stands for one that is not known.

        Raises:
            Unsupported: The destination cannot take it.
        """
        return None if type(value) in _TEXTS and value in self.unknown else scalar(value)

    def _plain(self, attributes: Mapping[str, object]) -> tuple[dict[str, Scalar], list[tuple[str, object]]]:
        """The attributes that are sent as they are, and the rest."""
        policy, unknown = self._policy, self.unknown
        sendable = policy.sendable.get
        accepted: dict[str, Scalar] = {}
        rest: list[tuple[str, object]] = []
        for name, value in attributes.items():
            kind = type(value)
            if (
                (own := sendable(name) or policy.decided(name)) is not None
                and kind in _SENT_AS_THEY_ARE
                and (kind is not str or value not in unknown)
                and (kind is not float or isfinite(value))  # type: ignore[arg-type]  # it is a float
            ):
                accepted[own] = value  # type: ignore[assignment]  # the set above is part of Scalar
            else:
                rest.append((name, value))
        return accepted, rest

    def _sift(
        self, attributes: list[tuple[str, object]], accepted: dict[str, Scalar]
    ) -> tuple[tuple[Refusal, ...], int]:
        """Adds what can be sent to `accepted`. Returns the refusals, and how many attributes a rule left out."""
        refused: dict[Reason, _Refused] = {}
        passed_over = 0
        for name, value in attributes:
            decision = self._policy.decide(name)
            if self._passes_over(decision, value):
                passed_over += 1
            elif decision is Decision.DENY:
                refused.setdefault(Reason.SENSITIVE_DATA, _Refused()).add(name, None, "denied by policy")
            elif decision is Decision.BAD_NAME:
                refused.setdefault(Reason.INVALID_ATTRIBUTE_NAME, _Refused()).add(name, value, _name_fault(name))
            else:
                try:
                    accepted[self._policy.sendable.get(name, name)] = self._rendered(value)
                except Unsupported as what:
                    refused.setdefault(Reason.UNSUPPORTED_VALUE, _Refused()).add(name, value, str(what))
        return tuple(one.refusal(reason) for reason, one in refused.items()), passed_over

    def _passes_over(self, decision: Decision, value: object) -> bool:
        """Whether a rule leaves it out: the allow-list, `nulls` or `unknown_values`. A denied name changes nothing."""
        if decision is Decision.PASS_OVER or (value is None and self._nulls == "drop"):
            return True
        return type(value) in _TEXTS and value in self.unknown

    def _rendered(self, value: object) -> Scalar:
        if value is not None:
            return scalar(value)
        if self._nulls == "empty_string":
            return ""
        raise Unsupported("null")

    def _unnamed(self, attributes: Mapping[str, object], fault: str | None) -> Checked:
        kept: dict[str, object] = {}
        passed_over = 0
        for name, value in attributes.items():
            decision = self._policy.decide(name)
            if self._passes_over(decision, value):
                passed_over += 1
            else:
                kept[name] = None if decision is Decision.DENY else raw(value)
        if fault is None:
            wanted = ", ".join(self.identity.order)
            refusal = Refusal(Reason.NO_IDENTITY, f"none of {wanted} is present", kept)
        else:
            refusal = Refusal(Reason.INVALID_IDENTITY, fault, kept)
        return Checked(None, None, {}, (refusal,), passed_over)


def _known(user: User, unknown: frozenset[object]) -> User:
    """The user without identifiers that are not known."""

    def known(value: str | None) -> str | None:
        return None if value in unknown else value

    custom = tuple(pair for pair in user.custom if pair[1] not in unknown)
    return User(known(user.phone), known(user.email), known(user.client_user_id), custom)


class _Refused:
    """The attributes of one event that are refused for one reason."""

    __slots__ = ("attributes", "whys")

    def __init__(self) -> None:
        self.attributes: dict[str, object] = {}
        self.whys: list[str] = []

    def add(self, name: str, value: object, why: str) -> None:
        self.attributes[name] = raw(value)
        if len(self.whys) < _SHOWN_MAX:
            self.whys.append(f"{_shown(name)}: {why}")

    def refusal(self, reason: Reason) -> Refusal:
        more = len(self.attributes) - len(self.whys)
        return Refusal(reason, "; ".join(self.whys) + (f"; and {more} more" if more else ""), self.attributes)


def _name_fault(name: str) -> str:
    if not name:
        return "an attribute has no name"
    if not is_text(name):
        return "a name with a lone surrogate, which is no character"
    return f"a name of {len(name)} characters; at most 200 are taken"


def _shown(name: str) -> str:
    cut = name[: _NAME_SHOWN_MAX + 1]
    shown = cut if cut.isprintable() and cut else repr(cut)  # ten characters for one, at worst
    return shown if len(shown) <= _NAME_SHOWN_MAX else shown[:_NAME_SHOWN_MAX] + "…"
