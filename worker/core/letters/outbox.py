"""Dead letters on their way to their topic. Only the delivery report settles a letter's owner.

Two credits bound a flood of letters: one for records that cannot be used, one for calls that are refused.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from worker.core.letters.letter import size_bytes
from worker.core.letters.storm import Credit, Storm
from worker.core.model import Letter, Now, Reason
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory


class Owner(Protocol):
    """What a dead letter settles: an entry, or a record's offset."""

    @property
    def is_wanted(self) -> bool:
        """False once its partitions were dropped: their next owner makes the same letter."""

    def letter_written(self, now: Now) -> None:
        """The topic acknowledged one of its letters."""


@dataclass(frozen=True, slots=True, eq=False)
class OffsetOwner:
    """A record's offset. The ledger has a hold on it until the letter is acknowledged."""

    ledger: Ledger
    offset: int

    @property
    def is_wanted(self) -> bool:
        """False once the partition was dropped."""
        return self.ledger.live

    def letter_written(self, _: Now) -> None:
        """The offset is settled."""
        self.ledger.settle(self.offset)


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """The owner that a letter settles, and the credit that paid for it. None: a `sensitive_data` letter is free."""

    owner: Owner
    credit: Credit | None


class Outbox:
    """The letters that are not acknowledged yet.

    A letter is due, being written, or withheld until there is credit for it.

        outbox.add_of_record(letter, OffsetOwner(ledger, offset), now.wall_ms)
        for letter in outbox.due(now.mono):
            publish(letter)
        outbox.acknowledged(letter, now)  # its delivery report: settles the offset. Or `failed`: due again later
    """

    def __init__(self, backoff: Callable[[int], float], *, storm: Storm, call_credit: Credit, memory: Memory) -> None:
        """Begins empty.

        Args:
            backoff: the pause in seconds after the n-th consecutive failure to write letters.
            storm: bounds the letters of unusable records, and withholds those over the bound.
            call_credit: bounds the letters of refused calls. Check that it is not exhausted before `add_of_call`.
            memory: counts the letters' bytes.
        """
        self._backoff = backoff
        self.storm = storm
        self.call_credit = call_credit
        self._memory = memory
        self._pending: dict[Letter, _Pending] = {}
        self._withheld: dict[Letter, Ledger] = {}
        self._due: list[tuple[float, int, Letter]] = []
        self._order = count()
        self._failures = 0
        self._retry_at = -math.inf
        self.problem: str | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def add_of_call(self, letter: Letter, owner: Owner) -> None:
        """Adds a letter about a refused call. It is due at once."""
        self._add(letter, _Pending(owner, self.call_credit))
        self.call_credit.spend()
        self._make_due(letter)

    def add_of_record(self, letter: Letter, owner: OffsetOwner, wall_ms: int) -> None:
        """Adds a letter about an unusable record. It is due as soon as there is credit for it."""
        # A forbidden attribute says nothing about the producer's health, so its letter costs nothing.
        free = letter.reason is Reason.SENSITIVE_DATA
        self._add(letter, _Pending(owner, None if free else self.storm.credit))
        if free or self.storm.admits(letter, wall_ms):
            self._make_due(letter)
        else:
            self._withheld[letter] = owner.ledger
            owner.ledger.withheld += 1

    def earn_and_release(self) -> bool:
        """A record was good: earns credit, and makes as many withheld letters due as the credit pays for.

        Returns whether this ended a storm: letters were withheld, and none is now.
        """
        if self.storm.credit.full and not self._withheld:  # nearly always, and this is for every record
            return False
        released = self.storm.earn_and_release()
        for letter in released:
            self._withheld.pop(letter).withheld -= 1
            self._make_due(letter)
        return bool(released) and not self.storm.withheld

    def forget_dropped(self) -> None:
        """Partitions were dropped: drops their letters that are not being written. The next owner makes them again."""
        for letter in self.storm.forget(self._is_wanted):
            del self._withheld[letter]
            self._remove(letter)
        unwanted = [letter for _, _, letter in self._due if not self._is_wanted(letter)]
        self._due = [waiting for waiting in self._due if self._is_wanted(waiting[2])]
        heapq.heapify(self._due)
        for letter in unwanted:
            # Never written, so refund its credit: the next owner will write the same letter.
            credit = self._remove(letter).credit
            if credit is not None:
                credit.give_back()

    def due(self, now: float) -> list[Letter]:
        """Removes and returns the letters to write now. Each comes back by `acknowledged` or `failed`."""
        letters = []
        while self._due and self._due[0][0] <= now:
            _, _, letter = heapq.heappop(self._due)
            if self._is_wanted(letter):
                letters.append(letter)
            else:
                # The sequence: it was being written, its partition was dropped, then the write failed.
                self._remove(letter)
        return letters

    def next_due(self) -> float:
        """When the next letter is due, in monotonic seconds; infinite if there is none."""
        return self._due[0][0] if self._due else math.inf

    def letters_at(self, offsets: Mapping[Ledger, int]) -> dict[Ledger, bool]:
        """Which of these records have a letter here, and whether it is withheld. Looks at every letter."""
        return {
            owner.ledger: letter in self._withheld
            for letter, pending in self._pending.items()
            if isinstance(owner := pending.owner, OffsetOwner) and offsets.get(owner.ledger) == owner.offset
        }

    def acknowledged(self, letter: Letter, now: Now) -> None:
        """The topic has the letter: settles its owner."""
        self._failures = 0
        self.problem = None
        self._remove(letter).owner.letter_written(now)

    def failed(self, letter: Letter, error: str, now: float) -> None:
        """The topic did not take the letter: it is due again after a back-off."""
        if now >= self._retry_at:  # else it was sent together with the letter that failed before it: count one failure
            self._failures += 1
            self._retry_at = now + self._backoff(self._failures)
        self.problem = error
        heapq.heappush(self._due, (self._retry_at, next(self._order), letter))

    def _make_due(self, letter: Letter) -> None:
        heapq.heappush(self._due, (-math.inf, next(self._order), letter))

    def _is_wanted(self, letter: Letter) -> bool:
        return self._pending[letter].owner.is_wanted

    def _add(self, letter: Letter, pending: _Pending) -> None:
        self._pending[letter] = pending
        self._memory.add(size_bytes(letter))

    def _remove(self, letter: Letter) -> _Pending:
        self._memory.add(-size_bytes(letter))
        pending = self._pending.pop(letter)
        if not self._pending:  # nothing is left to fail
            self.problem, self._failures = None, 0
        return pending
