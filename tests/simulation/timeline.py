"""Virtual time: what is to happen, in order, and nothing in between."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from worker.core.model import Now

BEGINNING = 1_000.0  # not zero: a monotonic clock begins anywhere
_WALL_MS = 1_700_000_000_000


class Timeline:
    """The clock of a simulated cluster and the queue of what it still has to do."""

    __slots__ = ("_events", "_order", "now", "wall_step_ms")

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0
        self.now = BEGINNING
        self.wall_step_ms = 0

    def at(self, when: float, action: Callable[[Any], None], argument: object = None) -> None:
        """`action(argument)` at an instant; at once, after what is already due, where that has passed."""
        self._order += 1
        heapq.heappush(self._events, (max(when, self.now), self._order, action, argument))

    def after(self, seconds: float, action: Callable[[Any], None], argument: object = None) -> None:
        """`action(argument)` after so long."""
        self.at(self.now + seconds, action, argument)

    def instant(self) -> Now:
        """The present by both clocks; the wall clock may have been set meanwhile."""
        return Now(self.now, _WALL_MS + self.wall_step_ms + int(self.now * 1000))

    def step(self) -> None:
        """Does what is next."""
        self.now, _, action, argument = heapq.heappop(self._events)
        action(argument)
