"""A bound on dead letters. A flood of them means a broken producer or destination, not that much bad data.

Letters cost credit, successes earn it. Without credit, a record's letter is made but withheld. For a refused call no
letter is made (the judge checks `exhausted` first), and its entry waits. In both cases the offset stays uncommitted,
so nothing is lost. The spent credit is committed beside the offsets, so that a restart does not begin a new flood.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.core.counted import counted
from worker.core.model import Letter

_NOTE: Final = re.compile(r"letters-spent (\d{1,9}) (\d{1,9})")


class Credit:
    """How many more letters may be written.

    There is one credit for letters of records, and one for letters of calls.

        credit = Credit(letters_max=100, share_max=0.2)
        credit.spend()  # one letter written: 99 left
        credit.earn()  # one success: a quarter of a letter, so that 1 in 5 outcomes may be a letter

    Attributes:
        full: whether nothing was spent that is not earned back. Then a success earns nothing.
    """

    def __init__(self, letters_max: int, share_max: float) -> None:
        """`letters_max`: letters in a row without a success. `share_max`: letters per outcome, on average, below 1."""
        self._letters_max = letters_max
        self._earned = share_max / (1.0 - share_max)
        self._left = float(letters_max)
        self.full = True

    def spend(self) -> None:
        """A letter costs 1."""
        self._have(max(0.0, self._left - 1.0))

    def give_back(self) -> None:
        """The letter was never written: refunds it."""
        self._have(self._left + 1.0)

    def earn(self) -> None:
        """A success earns a part of a letter."""
        if not self.full:
            self._have(self._left + self._earned)

    def restore(self, spent: int) -> None:
        """Takes over what the previous owner of partitions had spent, if that leaves less than is left here.

        `spent` is an absolute number. So a restart with a larger bound leaves more: that is the way out of a storm.
        """
        self._have(min(self._left, max(0.0, float(self._letters_max - spent))))

    def _have(self, left: float) -> None:
        self._left = min(left, float(self._letters_max))
        self.full = self._left >= self._letters_max

    @property
    def spent(self) -> int:
        """Credit spent and not earned back, rounded up."""
        return self._letters_max - int(self._left)

    @property
    def exhausted(self) -> bool:
        """Whether the next letter would have to wait."""
        return self._left < 1.0


class Storm:
    """The letters of unusable records that are withheld for want of credit, oldest first."""

    def __init__(self, credit: Credit) -> None:
        self.credit = credit
        self._withheld: deque[Letter] = deque()
        self._since_ms: int | None = None

    def admits(self, letter: Letter, wall_ms: int) -> bool:
        """Whether the letter may be written now. If not, withholds it until credit is earned."""
        if not self.credit.exhausted and not self._withheld:
            self.credit.spend()
            return True
        if not self._withheld:
            self._since_ms = wall_ms
        self._withheld.append(letter)
        return False

    def earn_and_release(self) -> list[Letter]:
        """A success: earns credit, and returns the withheld letters that it pays for."""
        self.credit.earn()
        if not self._withheld:
            return []
        released = []
        while self._withheld and not self.credit.exhausted:
            self.credit.spend()
            released.append(self._withheld.popleft())
        return released

    def forget(self, is_wanted: Callable[[Letter], bool]) -> list[Letter]:
        """Removes and returns the withheld letters that are no longer wanted."""
        dropped = [letter for letter in self._withheld if not is_wanted(letter)]
        self._withheld = deque(letter for letter in self._withheld if is_wanted(letter))
        return dropped

    @property
    def withheld(self) -> int:
        """How many letters are withheld."""
        return len(self._withheld)

    @property
    def told(self) -> str:
        """The same for people."""
        return f"{counted(self.withheld, 'dead letter')} of unusable records withheld"

    @property
    def since_ms(self) -> int | None:
        """When letters began to be withheld, in milliseconds since the epoch; None if none is."""
        return self._since_ms if self._withheld else None


def note_of(spent: tuple[int, int]) -> str:
    """The spent credit of records and of calls, as text to commit beside an offset."""
    return f"letters-spent {spent[0]} {spent[1]}"


def spent_of(note: str) -> tuple[int, int] | None:
    """The spent credit in a note of `note_of`; None for any other text."""
    read = _NOTE.fullmatch(note)
    return None if read is None else (int(read[1]), int(read[2]))
