"""The lines about dead letters: one when a reason first occurs, then one a minute for each reason that goes on."""

from __future__ import annotations

from collections import Counter

from structlog.typing import FilteringBoundLogger

from worker.core.model import Reason
from worker.logs import LogLimiter
from worker.ops.letters import LatestLetters


class LetterLines:
    """Looks at what was written, again and again. A line counts the letters since the reason's line before."""

    def __init__(self, log: FilteringBoundLogger, letters: LatestLetters) -> None:
        self._log = log
        self._letters = letters
        self._told: Counter[Reason] = Counter()
        self._limit = LogLimiter()

    def look(self, now: float) -> None:
        """Logs what is due, at `now` in monotonic seconds."""
        for reason, count in self._letters.counts.items():
            if count > self._told[reason] and self._limit.allows(reason, now):
                self._say(reason, count)

    def _say(self, reason: Reason, count: int) -> None:
        latest = self._letters.of_reason[reason]
        topic, number = latest.partition or (None, None)
        self._log.warning(
            "dead_letters",
            reason=reason.value,
            written=count - self._told[reason],
            since_start=count,
            detail=latest.detail,
            topic=topic,
            partition=number,
            offset=latest.offset,
        )
        self._told[reason] = count
