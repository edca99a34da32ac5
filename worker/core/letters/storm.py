"""A bound on dead letters: a flood of them means a broken producer or destination, not that much bad data.

Letters cost credit, successes earn it. Without credit a record's letter is made but withheld; for a refused call no
letter is made at all (the judge asks `exhausted` first), and its entry waits. Either way the offset stays uncommitted,
and nothing is lost. What was spent is committed with the offsets, so that a restart does not begin a new flood.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.core.model import Letter

_NOTE: Final = re.compile(r"letters-spent (\d{1,9}) (\d{1,9})")


class Credit:
    """How many more letters of one kind may be written."""

    def __init__(self, letters_max: int, share_max: float) -> None:
        """`letters_max`: letters in a row without a success; `share_max`: of all outcomes in the long run, below 1."""
        self._letters_max = letters_max
        self._earned = share_max / (1.0 - share_max)
        self._left = float(letters_max)

    def spend(self) -> None:
        """A letter costs 1."""
        self._left = max(0.0, self._left - 1.0)

    def give_back(self) -> None:
        """The letter was never written: refunds it."""
        self._left = min(float(self._letters_max), self._left + 1.0)

    def earn(self) -> None:
        """A success: it earns a part of a letter."""
        self._left = min(float(self._letters_max), self._left + self._earned)

    def restore(self, spent: int) -> None:
        """Takes over what the previous owner of partitions had spent, if that is more than was spent here.

        After a restart with a larger bound that much more is left: so raising the bound is the way out of a storm.
        """
        self._left = min(self._left, max(0.0, float(self._letters_max - spent)))

    @property
    def spent(self) -> int:
        """Letters that no success has paid for yet."""
        return self._letters_max - int(self._left)

    @property
    def exhausted(self) -> bool:
        """Whether one more letter would have to wait."""
        return self._left < 1.0


class Storm:
    """The withheld letters: of records that cannot be used, while there is no credit."""

    def __init__(self, credit: Credit) -> None:
        self.credit = credit
        self._withheld: deque[Letter] = deque()
        self._since_ms: int | None = None

    def admits(self, letter: Letter, wall_ms: int) -> bool:
        """Whether the letter may be written now; else it is withheld until credit is earned."""
        if not self.credit.exhausted and not self._withheld:
            self.credit.spend()
            return True
        if not self._withheld:
            self._since_ms = wall_ms
        self._withheld.append(letter)
        return False

    def earn_and_release(self) -> list[Letter]:
        """A success. Returns the withheld letters that may be written now."""
        self.credit.earn()
        released = []
        while self._withheld and not self.credit.exhausted:
            self.credit.spend()
            released.append(self._withheld.popleft())
        return released

    def forget(self, is_wanted: Callable[[Letter], bool]) -> list[Letter]:
        """Drops the withheld letters that are not wanted any more, and returns them."""
        dropped = [letter for letter in self._withheld if not is_wanted(letter)]
        self._withheld = deque(letter for letter in self._withheld if is_wanted(letter))
        return dropped

    @property
    def withheld(self) -> int:
        """How many letters are withheld."""
        return len(self._withheld)

    @property
    def since_ms(self) -> int | None:
        """Since when letters are withheld, in milliseconds since the epoch; None while none is."""
        return self._since_ms if self._withheld else None


def note_of(spent: tuple[int, int]) -> str:
    """What was spent, for records and for calls, as text to commit beside an offset."""
    return f"letters-spent {spent[0]} {spent[1]}"


def spent_of(note: str) -> tuple[int, int] | None:
    """What `note_of` wrote; None for another program's text."""
    read = _NOTE.fullmatch(note)
    return None if read is None else (int(read[1]), int(read[2]))
