"""The lines about a throttled worker: one when the destination slows it down, one when it is back at its full rate."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from worker.core.status import EngineStatus
from worker.logs import LogLimiter

_DETAIL = (
    "the destination answered 429, or asked for a pause (Retry-After); the worker slows down, keeps everything and "
    "goes up again by itself. If it stays, look who else uses the token, or lower "
    "WORKER_ATTENTIVE__REQUESTS_PER_SECOND"
)


class ThrottleLines:
    """Looks at the engine, again and again. Who is slowed again within a minute is not told again."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._limit = LogLimiter()
        self._since: float | None = None  # throttled since then, in monotonic seconds
        self._told = False

    def look(self, engine: EngineStatus, now: float) -> None:
        """Logs what is due, at `now` in monotonic seconds."""
        if engine.throttled and self._since is None:
            self._since, self._told = now, self._limit.allows("throttled", now)
            if self._told:
                self._log.warning(
                    "throttled",
                    rate=round(engine.rate_allowed, 1),
                    share=round(engine.rate_share, 1),
                    pause_seconds=round(engine.pause_seconds, 1),
                    detail=_DETAIL,
                )
        elif not engine.throttled and self._since is not None:
            if self._told:
                rate, seconds = round(engine.rate_allowed, 1), round(now - self._since, 1)
                self._log.info("full_rate_again", rate=rate, throttled_seconds=seconds)
            self._since = None
