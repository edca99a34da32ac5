"""What came of an entry's calls so far."""

from __future__ import annotations

import math
from typing import Final

from worker.core.delivery.isolation import Isolation
from worker.core.waiting.trouble import Trouble

TRIAL_BYTES: Final = 930
"""Its size in memory with a `Trouble` and a place among the retries, as most have that are kept for long. Measured."""


class Trial:
    """What came of an entry's calls so far. Most entries wait for their first call, and have none of their own.

    Attributes:
        calls: requests made for it so far.
        answered: how many of these the destination accepted or refused. Failures and 429s say nothing about the values.
        delivered: whether at least one attribute was delivered.
        finished: whether everything was delivered or became a dead letter.
        not_before: when its back-off ends, in monotonic seconds.
        trouble: its row of failed calls; None while it has none.
        isolation: the search for refused attributes; None if there is no search.
        pending_letters: dead letters that must be acknowledged before the entry is settled.
        overtaken: the attributes of which a later value was read that waits in the user's next entry or became a dead
            letter. So its value is not the last word, even once it is delivered.
    """

    # Its class has what every trial begins with: one is made for every call, and most end without anything else.
    calls: int = 0
    answered: int = 0
    delivered: bool = False
    finished: bool = False
    not_before: float = -math.inf
    trouble: Trouble | None = None
    isolation: Isolation | None = None
    pending_letters: int = 0
    overtaken: frozenset[str] = frozenset()


class _Untried(Trial):
    """That of every entry that was never called. Whoever writes to it would write to all of these."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: the entry has no trial of its own")


UNTRIED: Final[Trial] = _Untried()
