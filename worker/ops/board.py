"""The one place where the main thread leaves what other threads may read."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from worker.ops.status import Status


class Board:
    """Holds the latest status. One thread writes; any thread reads, without a lock.

    Each write replaces one reference, so a reader sees a whole snapshot: the status and since when it is so
    travel together in one tuple for that reason.

    Args:
        initial: what is said until the first `publish`, usually `Status.starting(...)`.
    """

    def __init__(self, initial: Status) -> None:
        self._posted = (initial, datetime.now(UTC))
        self._turned_at = time.monotonic()

    def publish(self, status: Status) -> None:
        """Replace the status; called by the main thread a few times a second."""
        before, since = self._posted
        if _condition(before) != _condition(status):
            since = datetime.now(UTC)
        self._posted = (status, since)

    def turn(self) -> None:
        """Note that the main loop turned; cheap enough for every turn."""
        # Not a clock that counts while the machine is suspended: a woken worker is not to be restarted for
        # having slept, and its loop turns again at once.
        self._turned_at = time.monotonic()

    @property
    def status(self) -> Status:
        """The latest status."""
        return self._posted[0]

    @property
    def posted(self) -> tuple[Status, datetime]:
        """The latest status, and since when its state (and the halt's reason) is what it is."""
        return self._posted

    @property
    def seconds_since_turn(self) -> float:
        """Seconds since the main loop last turned, or since the start."""
        return time.monotonic() - self._turned_at


def _condition(status: Status) -> tuple[object, ...]:
    return (status.state, status.joined, status.halt.reason if status.halt else None)
