"""Dead letters on their way: what each stands for is settled by its delivery report, and by nothing else."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

from worker.core.entry import Entry, Place
from worker.core.ledger import Ledger
from worker.core.model import Letter

LETTER_BYTES = 1200  # what one takes beyond the record it carries, in bytes


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A record's offset that a dead letter holds in its partition's ledger."""

    ledger: Ledger
    offset: int


Owner: TypeAlias = Held | Entry


class Outbox:
    """Letters to be written, letters being written, and letters to be written again."""

    def __init__(self, backoff: Callable[[int], float]) -> None:
        """`backoff` gives the pause in seconds after the n-th failure in a row to write any letter."""
        self._backoff = backoff
        self._owners: dict[Letter, Owner] = {}
        self._due: list[tuple[float, int, Letter]] = []
        self._order = count()
        self._failures = 0
        self.held_bytes = 0
        self.problem: str | None = None

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, letter: Letter, owner: Owner) -> None:
        """A new letter; its owner is settled when it is acknowledged."""
        self._owners[letter] = owner
        self.held_bytes += _size_bytes(letter)
        heapq.heappush(self._due, (-math.inf, next(self._order), letter))

    def due(self, now: float) -> list[Letter]:
        """The letters to be written now. One whose partition went away is the next owner's to write."""
        letters = []
        while self._due and self._due[0][0] <= now:
            _, _, letter = heapq.heappop(self._due)
            if _lives(self._owners[letter]):
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
        self._failures += 1
        self.problem = error
        heapq.heappush(self._due, (now + self._backoff(self._failures), next(self._order), letter))

    def _remove(self, letter: Letter) -> Owner:
        self.held_bytes -= _size_bytes(letter)
        return self._owners.pop(letter)


def _lives(owner: Owner) -> bool:
    return owner.place is not Place.GONE if isinstance(owner, Entry) else owner.ledger.live


def _size_bytes(letter: Letter) -> int:
    return LETTER_BYTES + len(letter.record_key or b"") + len(letter.record_value or b"")
