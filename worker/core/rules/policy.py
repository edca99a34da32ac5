"""Which attributes may be sent, by name: the allow-list, the deny-list, and what Attentive forbids outright.

Deny patterns ignore spelling: `SocialSecurity`, `social-security` and `social_security` are the same name. Names are
split into words at separators, at changes of case and before digits. `*` stands for any characters, `?` for one. Allow
patterns are compared literally, because the destination's names are case-sensitive.

`@forbidden` stands for the categories that Attentive's disclaimer on personal information excludes. It denies a name
that means such data, not every name with the word in it: `race` and `customer_race` are denied, `race_day_shoe_size` is
not; `passport` and `passport_number` are, `passport_tier` (a loyalty programme) is not; `card_number` is,
`gift_card_number` is not. No list of names is complete: an allow-list is the stronger protection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from worker.core.rules.forbidden import is_forbidden
from worker.core.words import LOOKED_AT_MAX, spelled, words

FORBIDDEN = "@forbidden"
DEBEZIUM_UNAVAILABLE = "__debezium_unavailable_value"
NULLS = ("drop", "reject", "empty_string")
_NAME_CHARACTERS_MAX = 200
_DECISIONS_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """What is sent.

    Attributes:
        allow: Name patterns; empty allows all. A name without a match is left out, without a dead letter.
        deny: Name patterns. A match becomes a `sensitive_data` dead letter without its value. `@forbidden` stands for
            the built-in list. To add your own patterns: `@forbidden,internal_*`.
        nulls: `drop` leaves null attributes out, `reject` makes dead letters of them, `empty_string` sends "".
        unknown_values: Texts that stand for a value that the producer does not know. They are left out, also as bytes,
            and an identifier with one is absent. Debezium writes the default for large columns that did not change.

    Raises:
        ValueError: A pattern is empty or names an unknown list, or `nulls` is unknown.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = (FORBIDDEN,)
    nulls: str = "drop"
    unknown_values: tuple[str, ...] = (DEBEZIUM_UNAVAILABLE,)

    def __post_init__(self) -> None:
        if not all(pattern.strip() for pattern in (*self.allow, *self.deny)):
            raise ValueError("an attribute name pattern is empty")
        for pattern in self.deny:
            if pattern.startswith("@") and pattern != FORBIDDEN:
                raise ValueError(f"{pattern} is no known list of attribute names; {FORBIDDEN} is the only one")
        if self.nulls not in NULLS:
            raise ValueError(f"attribute nulls is one of {', '.join(NULLS)}")

    @property
    def allow_all(self) -> bool:
        """Whether no name is left out for want of a match."""
        return not self.allow or "*" in self.allow


class Decision(Enum):
    """What to do with an attribute, by its name alone."""

    SEND = "send"
    PASS_OVER = "pass over"  # noqa: S105 - no password
    DENY = "deny"
    BAD_NAME = "bad name"


class Policy:
    """Decides by name. Caches its decisions, because events use the same few names over and over.

    Attributes:
        sendable: the names that it has lately decided to send, each by itself: one text for all events, since each
            event comes with texts of its own.
    """

    def __init__(self, rules: AttributeRules) -> None:
        self._allow = () if rules.allow_all else rules.allow
        self._denies = [_deny(pattern) for pattern in rules.deny]
        self._decisions: dict[str, Decision] = {}
        self.sendable: dict[str, str] = {}

    def decide(self, name: str) -> Decision:
        """The decision for a name. A name that the allow-list leaves out is left out, even if it is also denied."""
        decision = self._decisions.get(name)
        if decision is None:
            decision = self._judge(name)
            if len(name) <= _NAME_CHARACTERS_MAX:
                if len(self._decisions) >= _DECISIONS_CACHED:
                    self._decisions.clear()
                    self.sendable.clear()
                self._decisions[name] = decision
                if decision is Decision.SEND:
                    self.sendable[name] = name
        return decision

    def decided(self, name: str) -> str | None:
        """The name as it is in `sendable`. None if it is not to be sent, or too long to be kept."""
        self.decide(name)
        return self.sendable.get(name)

    def _judge(self, name: str) -> Decision:
        looked_at = name[:LOOKED_AT_MAX]
        if self._allow and not any(fnmatchcase(looked_at, pattern) for pattern in self._allow):
            return Decision.PASS_OVER
        parts = words(looked_at)
        if any(deny(parts) for deny in self._denies):
            return Decision.DENY
        return Decision.SEND if 0 < len(name) <= _NAME_CHARACTERS_MAX and is_text(name) else Decision.BAD_NAME


def unmatched(rules: AttributeRules, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The patterns that match none of these names, each with its setting. A built-in list is no pattern."""
    for pattern in rules.allow:
        if not any(fnmatchcase(name[:LOOKED_AT_MAX], pattern) for name in names):
            yield "allow", pattern
    spellings = [words(name[:LOOKED_AT_MAX]) for name in names]
    for pattern in rules.deny:
        if pattern != FORBIDDEN and not any(map(_deny(pattern), spellings)):
            yield "deny", pattern


def is_text(name: str) -> bool:
    """Whether it can be sent: UTF-8 has no lone surrogates, which JSON, and so a schema's field name, may hold."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _deny(pattern: str) -> Callable[[str], bool]:
    if pattern == FORBIDDEN:
        return is_forbidden
    parts = re.split(r"([*?]+)", pattern)
    glob = "".join(part if part[:1] in {"*", "?"} else spelled(part) for part in parts).strip("_")
    return lambda words: fnmatchcase(words, glob)
