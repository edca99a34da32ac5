"""What adds up with time alone: the seconds spent halted, and the calls that the rate allowed."""

from __future__ import annotations

from collections import defaultdict

from worker.core.status import EngineStatus


class Elapsed:
    """Adds up between one look at the engine's status and the next.

    Attributes:
        halted_seconds: the time spent halted, by reason.
        calls_allowed: the calls that the rate allowed.
    """

    def __init__(self) -> None:
        self.halted_seconds: dict[str, float] = defaultdict(float)
        self.calls_allowed = 0.0
        self._looked_at: float | None = None

    def look(self, engine: EngineStatus, now: float) -> None:
        """The engine stands like this now (monotonic seconds), and so it counts as it stood since the last look."""
        seconds = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        self.calls_allowed += engine.rate_allowed * seconds
        if engine.halt is not None:
            self.halted_seconds[engine.halt.reason] += seconds
