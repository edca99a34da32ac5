"""The lines about how the worker stands, once a minute: what it did in that minute, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from worker.core.model import Now
from worker.core.totals import Totals
from worker.core.watchdog import Stuck
from worker.logs import LINE_SECONDS, LogLimiter
from worker.ops.status import Problem, Status, rfc3339


class Reminders:
    """Looks at each status. One line a minute: `progress`, or `waiting` as long as something is in the way.

    A new problem is a line at once, but not twice within a minute. A halt is not: it is told as a fact when it begins.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._line_at: float | None = None  # when the next line is due, in monotonic seconds
        self._lined_at = 0.0
        self._totals, self._calls_allowed = Totals(), 0.0  # as of the latest line
        self._obstacle: str | None = None
        self._obstacle_since = ""
        self._new_limit = LogLimiter()
        self._stuck_limit = LogLimiter()

    def look(self, now: Now, status: Status, stuck: Sequence[Stuck]) -> None:
        """Logs what is due. `stuck` is the partitions that do not advance, the longest wait first."""
        if self._line_at is None:
            self._begin_minute(now, status)
        obstacle, detail = _obstacle(status)
        is_new = obstacle != self._obstacle
        if is_new:
            self._obstacle = obstacle
            self._obstacle_since = rfc3339(datetime.fromtimestamp(now.wall_ms / 1000, UTC))
        at_once = is_new and obstacle is not None and status.halt is None
        if now.mono >= (self._line_at or 0.0) or (at_once and self._new_limit.allows(obstacle, now.mono)):
            self._say(now, status, detail)
        if stuck:
            self._remind_of_stuck(now, stuck)

    def _say(self, now: Now, status: Status, detail: str | None) -> None:
        figures = self._figures(now, status)
        if self._obstacle is None:
            self._log.info("progress", **figures)
        else:
            self._log.warning("waiting", reason=self._obstacle, since=self._obstacle_since, detail=detail, **figures)
        self._begin_minute(now, status)

    def _begin_minute(self, now: Now, status: Status) -> None:
        self._lined_at, self._line_at = now.mono, now.mono + LINE_SECONDS
        self._totals, self._calls_allowed = status.totals, status.calls_allowed

    def _figures(self, now: Now, status: Status) -> dict[str, object]:
        """What was done since the latest line, and how it stands."""
        before, after = self._totals, status.totals
        calls, allowed = after.calls - before.calls, status.calls_allowed - self._calls_allowed
        lags = [partition.lag or 0 for partition in status.partitions]
        ages = [partition.oldest_undelivered_seconds or 0.0 for partition in status.partitions]
        return {
            "seconds": round(now.mono - self._lined_at),
            "state": status.state.value,
            "records": after.records - before.records,
            "changes": after.changes - before.changes,
            "calls": calls,
            "calls_saved": after.calls_saved - before.calls_saved,
            "delivered_entries": after.delivered_entries - before.delivered_entries,
            "retries": after.retries - before.retries,
            "dead_letters": after.dead_letters.total() - before.dead_letters.total(),
            "rate_used": round(calls / allowed, 2) if allowed else 0.0,
            "partitions": len(status.partitions),
            "lag": sum(lags),
            "oldest_undelivered_seconds": round(max(ages, default=0.0), 1),
            "open_entries": status.open_entries,
            "held_bytes": status.held_bytes,
        }

    def _remind_of_stuck(self, now: Now, stuck: Sequence[Stuck]) -> None:
        """Says which partition has stood still longest, and what it waits for."""
        if not self._stuck_limit.allows("stuck", now.mono):
            return
        longest = stuck[0]
        self._log.warning(
            "partition_stuck",
            topic=longest.partition.topic,
            partition=longest.partition.number,
            offset=longest.offset,
            seconds=round(longest.seconds),
            reason=longest.obstacle,
            detail=longest.detail,
            others=len(stuck) - 1,
        )


def _obstacle(status: Status) -> tuple[str | None, str | None]:
    """What the worker waits for, as (word, sentence): the most important thing only. (None, None) if nothing."""
    if status.halt is not None:
        return status.halt.reason, status.halt.detail
    if status.problems and status.problems[0] is not Problem.STUCK:
        return status.problems[0], status.problem
    return None, None
