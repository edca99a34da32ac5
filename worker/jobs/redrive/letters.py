"""The letters of a redrive, brought again for each of its passes, and counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from worker.core.letters.folding import OPEN
from worker.core.model import Partition
from worker.core.replay.redrive import Redrive
from worker.jobs.letter_filter import LetterFilter
from worker.jobs.letters import LetterBook, Odd
from worker.jobs.redrive.errands import Errands, Skipped, Unchecked
from worker.jobs.redrive.sources import Sources

_KINDS_MAX: Final = 20


class Letters:
    """The open letters that are meant.

    Attributes:
        total: how many there are.
        skipped, unchecked: how many of these are not tried, by why.
    """

    def __init__(self, book: LetterBook, wanted: LetterFilter, errands: Errands, sources: Sources) -> None:
        self._book = book
        self._wanted = wanted
        self._errands = errands
        self._sources = sources
        self._counted = False
        self.total = 0
        self.skipped: Counter[str] = Counter()
        self.unchecked: Counter[str] = Counter()

    @property
    def odd(self) -> Odd:
        """The records of the topic that are no letters."""
        return self._book.odd

    def bring(self, redrive: Redrive, stopped: Callable[[], bool]) -> None:
        """Gives the redrive every letter that can be delivered. Ends early once `stopped`.

        Raises:
            LettersUnread, RangeFailed: As `LetterBook.letters`.
            Unfinished, TopicsUnavailable, GroupUnavailable: As `Errands.of`.
        """
        total, skipped, unchecked = 0, Counter[str](), Counter[str]()
        for found in self._book.letters(stopped):
            if found.state != OPEN or not self._wanted.fits(found.letter):
                continue
            errand_or_why = self._errands.of(found.letter)
            if stopped():
                break  # perhaps it did not wait long enough to know
            total += 1
            match errand_or_why:
                case Skipped(why):
                    skipped[_kind(skipped, why)] += 1
                case Unchecked(why):
                    unchecked[_kind(unchecked, why)] += 1
                case (key, errand):
                    errand.doubtful = found.doubtful
                    redrive.expect(key, errand)
        if not self._counted:  # a later pass brings the same letters
            self._counted = not stopped()
            self.total, self.skipped, self.unchecked = total, skipped, unchecked

    def starts(self, redrive: Redrive) -> Mapping[Partition, int]:
        """Where to begin to read the log for the letters that it has got."""
        return self._sources.starts(redrive.addressees.begins, redrive.addressees.since_ms)


def _kind(counts: Counter[str], why: str) -> str:
    """The reason to count: anybody may have written letters of any number of topics."""
    return why if why in counts or len(counts) < _KINDS_MAX else "other reasons"
