"""Virtual time: a queue of planned actions. The clock jumps from one to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from worker.core.model import Now

BEGINNING = 1_000.0  # not zero: a monotonic clock may start anywhere
_WALL_MS = 1_700_000_000_000


class Timeline:
    """The clock of a simulated cluster and its queue of planned actions."""

    __slots__ = ("_events", "_order", "now", "wall_step_ms")

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0
        self.now = BEGINNING
        self.wall_step_ms = 0

    def at(self, when: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Plans `action(argument)` for an instant; if that has passed, for now, behind what is already due."""
        self._order += 1
        heapq.heappush(self._events, (max(when, self.now), self._order, action, argument))

    def after(self, seconds: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Plans `action(argument)` for `seconds` from now."""
        self.at(self.now + seconds, action, argument)

    def instant(self) -> Now:
        """The present by both clocks. A `clock` fault sets only the wall clock."""
        return Now(self.now, _WALL_MS + self.wall_step_ms + int(self.now * 1000))

    def step(self) -> None:
        """Moves the clock to the next action, and does it."""
        self.now, _, action, argument = heapq.heappop(self._events)
        action(argument)
