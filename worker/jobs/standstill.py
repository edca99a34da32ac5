"""Notices that a job stands still, so that it ends with a word and not never."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker.jobs.unfinished import Unfinished

STUCK_SECONDS: Final = 120.0


class Watch:
    """Looks at how far something is, again and again.

    Example:
        >>> watch = Watch()
        >>> while left := how_much_is_left():
        ...     if watch.is_stuck(left):
        ...         raise reading_stands_still(None)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: object = None
        self._moved_at = clock()

    def is_stuck(self, standing: object) -> bool:
        """Whether it has stood like this for two minutes."""
        now = self._clock()
        if standing != self._seen:
            self._seen, self._moved_at = standing, now
        return now - self._moved_at > STUCK_SECONDS


def reading_stands_still(problem: str | None) -> Unfinished:
    """The error of a reading that is stuck, and waits for this."""
    return Unfinished(f"reading stands still: {problem or 'no record comes'}")
