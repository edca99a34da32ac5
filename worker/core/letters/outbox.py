"""Dead letters on their way: what each stands for is settled by its delivery report, and by nothing else.

A flood of letters is bounded by credit: one for records that cannot be used, one for calls that are refused.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from sys import getsizeof
from typing import TypeAlias

from worker.core.letters.storm import Credit, Storm
from worker.core.model import Letter, Reason
from worker.core.waiting.entry import ITEM_BYTES, Entry, Place
from worker.core.waiting.ledger import Ledger

LETTER_BYTES = 1200  # what one takes beyond the record it carries, in bytes


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A record's offset that a dead letter holds in its partition's ledger."""

    ledger: Ledger
    offset: int


Owner: TypeAlias = Held | Entry


class Outbox:
    """Letters to be written, letters being written, and letters to be written again."""

    def __init__(self, backoff: Callable[[int], float], *, records: Storm, calls: Credit) -> None:
        """Empty.

        Args:
            backoff: the pause in seconds after the n-th failure in a row to write any letter.
            records: bounds the letters of records that cannot be used.
            calls: bounds the letters of calls that the destination refused: without it there are none to `add`.
        """
        self._backoff = backoff
        self.records = records
        self.calls = calls
        self._owners: dict[Letter, Owner] = {}
        self._due: list[tuple[float, int, Letter]] = []
        self._order = count()
        self._failures = 0
        self._retry_at = -math.inf
        self.held_bytes = 0
        self.problem: str | None = None

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, letter: Letter, owner: Owner, wall_ms: int) -> None:
        """A new letter; its owner is settled when it is acknowledged. Written as soon as there is credit for it."""
        self._owners[letter] = owner
        self.held_bytes += _size_bytes(letter)
        if isinstance(owner, Entry):
            self.calls.spend()
            self._release(letter)
        # What policy forbids says nothing of the producer's health.
        elif letter.reason is Reason.SENSITIVE_DATA or self.records.admits(letter, wall_ms):
            self._release(letter)

    def earn_and_release(self) -> None:
        """A record went well: what a flood held back may be written, as far as that earns it."""
        for letter in self.records.earn_and_release():
            self._release(letter)

    def forget_dropped(self) -> None:
        """Partitions went away: their letters are the next owner's to write."""
        for letter in self.records.forget(self._is_wanted):
            self._remove(letter)
        unwanted = [letter for _, _, letter in self._due if not self._is_wanted(letter)]
        self._due = [item for item in self._due if self._is_wanted(item[2])]
        heapq.heapify(self._due)
        for letter in unwanted:  # not written: its credit is there for the one that the next owner makes
            if isinstance(self._remove(letter), Entry):
                self.calls.give_back()
            elif letter.reason is not Reason.SENSITIVE_DATA:
                self.records.credit.give_back()

    def due(self, now: float) -> list[Letter]:
        """The letters to be written now. One whose partition went away is the next owner's to write."""
        letters = []
        while self._due and self._due[0][0] <= now:
            _, _, letter = heapq.heappop(self._due)
            if self._is_wanted(letter):
                letters.append(letter)
            else:
                self._remove(letter)
        return letters

    def next_due(self) -> float:
        """The instant of the next letter to be written, in monotonic seconds; infinite where there is none."""
        return self._due[0][0] if self._due else math.inf

    def acknowledged(self, letter: Letter) -> Owner:
        """The topic has the letter. Returns whom this settles."""
        self._failures = 0
        self.problem = None
        return self._remove(letter)

    def failed(self, letter: Letter, error: str, now: float) -> None:
        """The topic did not take the letter: it is written again, later."""
        if now >= self._retry_at:  # else it is of the same attempt as the failure before
            self._failures += 1
            self._retry_at = now + self._backoff(self._failures)
        self.problem = error
        heapq.heappush(self._due, (self._retry_at, next(self._order), letter))

    def _release(self, letter: Letter) -> None:
        heapq.heappush(self._due, (-math.inf, next(self._order), letter))

    def _is_wanted(self, letter: Letter) -> bool:
        return _lives(self._owners[letter])

    def _remove(self, letter: Letter) -> Owner:
        self.held_bytes -= _size_bytes(letter)
        owner = self._owners.pop(letter)
        if not self._owners:  # nothing is left to fail
            self.problem, self._failures = None, 0
        return owner


def _lives(owner: Owner) -> bool:
    return owner.place is not Place.GONE if isinstance(owner, Entry) else owner.ledger.live


def _size_bytes(letter: Letter) -> int:
    content = len(letter.record_key or b"") + len(letter.record_value or b"")
    if letter.answer is not None:
        content += len(letter.answer.body)
    return LETTER_BYTES + content + sum(ITEM_BYTES + getsizeof(lost.value) for lost in letter.attributes)
