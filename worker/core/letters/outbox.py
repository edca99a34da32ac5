"""Dead letters on their way. What a letter stands for is settled by its delivery report, and by nothing else.

Credit bounds a flood of letters: one account for records that cannot be used, one for calls that are refused.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from sys import getsizeof
from typing import Protocol

from worker.core.letters.storm import Credit, Storm
from worker.core.model import Letter, Now, Reason
from worker.core.waiting.entry import ITEM_BYTES
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory

LETTER_BYTES = 1200  # what one takes beyond the record it carries, in bytes


class Owner(Protocol):
    """What a dead letter stands for: an entry, or a record's offset."""

    @property
    def is_wanted(self) -> bool:
        """False once its partitions went away: the next owner makes the same letter."""

    def letter_written(self, now: Now) -> None:
        """The topic acknowledged one letter of it."""


@dataclass(frozen=True, slots=True, eq=False)
class OffsetOwner:
    """A record's offset, which its partition's ledger holds until the letter is acknowledged."""

    ledger: Ledger
    offset: int

    @property
    def is_wanted(self) -> bool:
        """False once the partition went away."""
        return self.ledger.live

    def letter_written(self, _: Now) -> None:
        """The offset is settled."""
        self.ledger.settle(self.offset)


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """Whom a letter settles, and the account that paid for it (None: what policy forbids is free)."""

    owner: Owner
    account: Credit | None


class Outbox:
    """Letters without an acknowledgement: due, being written, or withheld until there is credit for them."""

    def __init__(self, backoff: Callable[[int], float], *, storm: Storm, call_credit: Credit, memory: Memory) -> None:
        """Empty.

        Args:
            backoff: the pause in seconds after the n-th failure in a row to write any letter.
            storm: bounds the letters of records that cannot be used, and keeps those withheld.
            call_credit: bounds the letters of calls that the destination refused; ask it before `add_of_call`.
            memory: counts what the letters take.
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
        """A letter about a refused call. It is due at once."""
        self._add(letter, _Pending(owner, self.call_credit))
        self.call_credit.spend()
        self._make_due(letter)

    def add_of_record(self, letter: Letter, owner: OffsetOwner, wall_ms: int) -> None:
        """A letter about a record that cannot be used. It is due as soon as there is credit for it."""
        # What policy forbids tells nothing of the producer's health.
        free = letter.reason is Reason.SENSITIVE_DATA
        self._add(letter, _Pending(owner, None if free else self.storm.credit))
        if free or self.storm.admits(letter, wall_ms):
            self._make_due(letter)
        else:
            self._withheld[letter] = owner.ledger
            owner.ledger.withheld += 1

    def earn_and_release(self) -> None:
        """A record went well: that earns credit, and withheld letters may be written as far as the credit goes."""
        for letter in self.storm.earn_and_release():
            self._withheld.pop(letter).withheld -= 1
            self._make_due(letter)

    def forget_dropped(self) -> None:
        """Partitions went away: the next owner writes their letters."""
        for letter in self.storm.forget(self._is_wanted):
            del self._withheld[letter]
            self._remove(letter)
        unwanted = [letter for _, _, letter in self._due if not self._is_wanted(letter)]
        self._due = [item for item in self._due if self._is_wanted(item[2])]
        heapq.heapify(self._due)
        for letter in unwanted:
            # Never written, so refund its credit: the next owner will write the same letter.
            account = self._remove(letter).account
            if account is not None:
                account.give_back()

    def due(self, now: float) -> list[Letter]:
        """The letters to be written now."""
        letters = []
        while self._due and self._due[0][0] <= now:
            _, _, letter = heapq.heappop(self._due)
            if self._is_wanted(letter):
                letters.append(letter)
            else:
                # Its partition went away while it was being written, and then the write failed.
                self._remove(letter)
        return letters

    def next_due(self) -> float:
        """The instant of the next letter to be written, in monotonic seconds; infinite where there is none."""
        return self._due[0][0] if self._due else math.inf

    def acknowledged(self, letter: Letter, now: Now) -> None:
        """The topic has the letter: what it stands for is settled."""
        self._failures = 0
        self.problem = None
        self._remove(letter).owner.letter_written(now)

    def failed(self, letter: Letter, error: str, now: float) -> None:
        """The topic did not take the letter: it is written again, later."""
        if now >= self._retry_at:  # else it belongs to the same attempt as the failure before
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
        self._memory.add(_size_bytes(letter))

    def _remove(self, letter: Letter) -> _Pending:
        self._memory.add(-_size_bytes(letter))
        pending = self._pending.pop(letter)
        if not self._pending:  # nothing is left to fail
            self.problem, self._failures = None, 0
        return pending


def _size_bytes(letter: Letter) -> int:
    content = len(letter.record_key or b"") + len(letter.record_value or b"")
    if letter.answer is not None:
        content += len(letter.answer.body)
    return LETTER_BYTES + content + sum(ITEM_BYTES + getsizeof(lost.value) for lost in letter.attributes)
