"""The dead letters of this process, for people: how many for each reason, and the latest of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from worker.core.facts import Fact, LetterWritten
from worker.core.model import Reason
from worker.ops.status import DeadLetter

LATEST_MAX: Final = 10
NAMES_MAX: Final = 10
NAME_CHARACTERS_MAX: Final = 80


class LatestLetters:
    """An observer that keeps the last few letters.

    Attributes:
        latest: the latest first. Each new letter makes a new tuple, so any thread may read it.
        counts: how many were written, by reason.
        of_reason: the latest one of each reason.
    """

    def __init__(self) -> None:
        self.latest: tuple[DeadLetter, ...] = ()
        self.counts: Counter[Reason] = Counter()
        self.of_reason: dict[Reason, LetterWritten] = {}

    def observe(self, fact: Fact) -> None:
        """Keeps a letter; ignores everything else."""
        if isinstance(fact, LetterWritten):
            self.latest = (_shown(fact), *self.latest[: LATEST_MAX - 1])
            self.counts[fact.reason] += 1
            self.of_reason[fact.reason] = fact


def _shown(fact: LetterWritten) -> DeadLetter:
    names = [_cut(name) for name in fact.names[:NAMES_MAX]]
    if len(fact.names) > NAMES_MAX:
        names.append(f"and {len(fact.names) - NAMES_MAX} more")
    topic, number = fact.partition or (None, None)
    at = datetime.fromtimestamp(fact.failed_at_ms / 1000, UTC)
    return DeadLetter(at, fact.reason.value, topic, number, fact.offset, tuple(names))


def _cut(name: str) -> str:
    """A name may be as long as its record: one that is too long is why some letters are written."""
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[: NAME_CHARACTERS_MAX - 1]}…"
