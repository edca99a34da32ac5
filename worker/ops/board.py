"""The board: where the main thread publishes the status for other threads."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from worker.ops.history import History
from worker.ops.status import Status


class Board:
    """Holds the latest status. One thread writes; any thread reads, without a lock.

    A write replaces one reference, so a reader always sees a whole snapshot. That is why the status and its `since` are
    in one tuple.

    Args:
        initial: the status until the first `publish`, usually `Status.starting(...)`.

    Attributes:
        history: what was published in the last half hour, in steps.
    """

    def __init__(self, initial: Status) -> None:
        self.history = History(initial)
        self._latest = (initial, datetime.now(UTC))
        self._turned_at = time.monotonic()

    def publish(self, status: Status) -> None:
        """Replaces the status. The main thread calls it a few times a second."""
        before, since = self._latest
        if _condition(before) != _condition(status):
            since = datetime.now(UTC)
        self._latest = (status, since)
        self.history.look(status)

    def turn(self) -> None:
        """Notes that the main loop turned. Cheap enough for every turn."""
        # This clock must not count while the machine is suspended. Else `/livez` would call a worker that just woke
        # stalled, and Kubernetes would restart it.
        self._turned_at = time.monotonic()

    @property
    def status(self) -> Status:
        """The latest status."""
        return self._latest[0]

    @property
    def latest(self) -> tuple[Status, datetime]:
        """The latest status, and when its state, its membership or the halt's reason last changed."""
        return self._latest

    @property
    def seconds_since_turn(self) -> float:
        """Seconds since the main loop last turned, or since the start."""
        return time.monotonic() - self._turned_at


def _condition(status: Status) -> tuple[object, ...]:
    return (status.state, status.joined, status.halt.reason if status.halt else None)
