"""What preflight has decided of single identifiers and names, for generated code, which looks here first.

Users change more than once, and names come again and again. Whatever is not here and is not plainly good raises: the
record is then read and checked step by step.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, Protocol

from worker.core.model import KEY_PREFIXES, User, UserKey
from worker.core.rules.identifiers import AS_THEY_ARE, CHARACTERS_MAX
from worker.core.rules.identity import IdentityRules, name_user
from worker.core.rules.policy import Decision, Policy

_KEPT: Final = 10_000
_new: Final = bytes.__new__


class Unsure(Exception):
    """It takes more than a look: something is refused, left out, or sent otherwise than it came."""


def key_of(user: User, rules: IdentityRules) -> UserKey:
    """The user by these identifiers.

    Raises:
        Unsure: They name none, or more is sent than the key.
    """
    named = name_user(user, rules)
    if named.key is None or named.sent is not None or named.dropped:
        raise Unsure
    return named.key


class OfUser(Protocol):
    """What is of one user, whose key it has."""

    @property
    def key(self) -> UserKey: ...  # noqa: D102 - the user


class Keys(dict[str, UserKey]):
    """The users that identifiers of one kind name, but custom ones.

    Raises:
        Unsure: It names none, or more of it is sent than the key.

    Attributes:
        waiting: what waits for users, by their keys. Of a million users few are kept here. But one who waits was
            checked before, and will be looked up there anyway.
    """

    def __init__(self, kind: str, rules: IdentityRules, unknown: Container[object]) -> None:
        super().__init__()
        self.waiting: Mapping[bytes, OfUser] = {}
        self._kind = kind
        self._prefix = KEY_PREFIXES[kind]
        self._as_it_is = AS_THEY_ARE[kind]
        self._rules = rules
        self._unknown = unknown

    def __missing__(self, value: str) -> UserKey:
        if value in self._unknown:
            raise Unsure
        raw = self._prefix + value.encode()
        if (waits := self.waiting.get(raw)) is not None and len(value) <= CHARACTERS_MAX:  # in lower case, some grow
            return waits.key
        if len(self) >= _KEPT:
            self.clear()
        key = self[value] = _new(UserKey, raw) if self._as_it_is(value) else self._checked(value)
        return key

    def _checked(self, value: str) -> UserKey:
        return key_of(User(**{self._kind: value}), self._rules)  # type: ignore[arg-type]  # never `custom`


class Names(dict[bytes, str]):
    """Names of attributes that are sent, by their UTF-8.

    Raises:
        Unsure: It is another one.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy

    def __missing__(self, raw: bytes) -> str:
        name = raw.decode()
        if self._policy.decide(name) is not Decision.SEND:
            raise Unsure
        if len(self) >= _KEPT:
            self.clear()
        own = self[raw] = self._policy.sendable[name]
        return own
