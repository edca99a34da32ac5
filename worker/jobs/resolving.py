"""Writes the records that end dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker.core.letters.folding import resolution_of
from worker.core.model import Letter
from worker.jobs.unfinished import Unfinished
from worker.kafka.producer import DeadLetters

CLOSE_SECONDS: Final = 5.0
_IN_FLIGHT_MAX: Final = 500
_PAUSE_SECONDS: Final = 0.002


class NotWritten(Unfinished):
    """A resolution was not acknowledged. The message says why."""


class Resolving:
    """Ends letters, and counts those whose end all in-sync replicas have.

    Ending a letter twice is harmless: both records have its id and attempts.

    Args:
        letters: the producer.
        wall_ms: the present in milliseconds since the epoch.
        stopped: whether to wait no longer for room.

    Attributes:
        written: the letters ended so far.

    Example:
        >>> resolving.end(letter, DISMISSED)  # many times
        >>> resolving.close()
    """

    def __init__(self, letters: DeadLetters, wall_ms: Callable[[], int], stopped: Callable[[], bool]) -> None:
        self._letters = letters
        self._wall_ms = wall_ms
        self._stopped = stopped
        self._waiting = 0
        self.written = 0

    def end(self, letter: Letter, detail: str) -> None:
        """Sends the record that ends a letter. Waits while too many are not acknowledged.

        Raises:
            NotWritten: An earlier one was refused, or not acknowledged in time.
        """
        while self._waiting >= _IN_FLIGHT_MAX and not self._stopped():
            self._take_results()
            time.sleep(_PAUSE_SECONDS)
        self._letters.publish(resolution_of(letter, detail, self._wall_ms()))
        self._waiting += 1
        self._take_results()

    def close(self) -> None:
        """Waits a few seconds for what is not acknowledged yet.

        Raises:
            NotWritten: Some is refused, or still not acknowledged.
        """
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._waiting and time.monotonic() < deadline:
            self._take_results()
            time.sleep(_PAUSE_SECONDS)
        if self._waiting:
            raise NotWritten(self._letters.problem or f"{self._waiting} are not acknowledged")

    def _take_results(self) -> None:
        refused = None
        for _, error in self._letters.results():
            self._waiting -= 1
            self.written += error is None
            refused = error or refused
        if refused is not None:
            raise NotWritten(refused)
