"""What came of an entry's calls so far."""

from __future__ import annotations

import math
from typing import Final

from worker.core.delivery.isolation import Isolation
from worker.core.waiting.trouble import Trouble

TRIAL_BYTES: Final = 550
"""Its size in memory with a `Trouble`, as most have that are kept for long. Measured."""

_NONE: Final[frozenset[str]] = frozenset()  # each call of `frozenset` makes another one


class Trial:
    """What came of an entry's calls so far. Most entries wait for their first call, and have none of their own.

    Attributes:
        calls: requests made for it so far.
        answered: how many of these the destination accepted or refused. Failures and 429s say nothing about the values.
        delivered: whether at least one attribute was delivered.
        not_before: when its back-off ends, in monotonic seconds.
        trouble: its row of failed calls; None while it has none.
        isolation: the search for refused attributes; None if there is no search.
        pending_letters: dead letters that must be acknowledged before the entry is settled.
        overtaken: the attributes of which a later value was read that waits in the user's next entry or became a dead
            letter. So its value is not the last word, even once it is delivered.
    """

    __slots__ = (
        "answered",
        "calls",
        "delivered",
        "isolation",
        "not_before",
        "overtaken",
        "pending_letters",
        "trouble",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.answered = 0
        self.delivered = False
        self.not_before = -math.inf
        self.trouble: Trouble | None = None
        self.isolation: Isolation | None = None
        self.pending_letters = 0
        self.overtaken: frozenset[str] = _NONE


class _Untried(Trial):
    """That of every entry that was never called. Whoever writes to it would write to all of these."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        super().__init__()
        self._made = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_made"):
            raise AttributeError(f"{name}: the entry has no trial of its own")
        super().__setattr__(name, value)


UNTRIED: Final[Trial] = _Untried()
