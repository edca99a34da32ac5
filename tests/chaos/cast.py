"""The parts in a run: good users, users whose calls always fail, and the attributes that the destination knows."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.profiles import phone

POISON = (500, 403, 429)
"""What a poison user is answered: always the same one of these."""

FIRST: Mapping[str, object] = {"version": 0, **{f"field_{k}": 0 for k in range(6)}, "note": "first", "vip": True}
"""The first values that the destination sees of these attributes: they fix the types."""

ENUMERATIONS = {"tier": ("gold",)}
NOBODY = phone(9_999_999)

_OF_EACH = 2
_REFUSED = 3
_BAD_SHARE = 0.04
_UNUSABLE_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Cast:
    """The users of a run, by their phones.

    Attributes:
        users: how many there are.
        bad_share: how many of the good users' changes have a bad attribute, from 0 to 1.
        unusable_share: how many changes nobody can use as a whole, from 0 to 1.
        always: what a user is answered from the first change to the last.
        at_times: what a user is answered while a fault of the plan says so.
        refused: users whose identifier the destination refuses.
    """

    users: int
    bad_share: float = 0.0
    unusable_share: float = 0.0
    always: Mapping[str, int] = field(default_factory=dict)
    at_times: Mapping[str, int] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()

    @property
    def poison(self) -> int:
        """How many poison users there are."""
        return len(self.always) + len(self.at_times)

    def poison_of(self, user: str) -> int | None:
        """What a poison user is answered; None for everybody else."""
        return self.always.get(user, self.at_times.get(user))


def cast_of(seed: int, users: int, *, poison: bool) -> Cast:
    """Users with bad changes among their good ones, a few that the destination refuses, and poison users if wanted."""
    dice = random.Random(f"cast {seed}")
    each = _OF_EACH if poison else 0
    phones = iter([phone(user) for user in dice.sample(range(users), _REFUSED + 2 * each * len(POISON))])
    return Cast(
        users,
        _BAD_SHARE,
        _UNUSABLE_SHARE,
        always={next(phones): status for status in POISON for _ in range(each)},
        at_times={next(phones): status for status in POISON for _ in range(each)},
        refused=frozenset(phones),
    )
