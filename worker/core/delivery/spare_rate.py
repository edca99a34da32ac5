"""The rate of a job that takes what live traffic leaves of the token's limit."""

from __future__ import annotations

import math
from typing import Final

from worker.core.delivery.rate import Rate
from worker.core.model import Reply

FIRST: Final = 0.1  # of the limit
MOST: Final = 0.9
_STEP: Final = 0.05  # of the limit, each second that had room
_ROOM: Final = 0.1  # of the limit must have remained at the end of a second
_SECOND: Final = 1.0


class SpareRate(Rate):
    """Begins at a tenth of the limit. Rises while `x-ratelimit-remaining` shows room, and halves at a 429.

    Without that header it stays where it is: nothing shows what the live workers need.
    """

    _decrease = 0.5

    def __init__(self, limit_per_second: float, now: float) -> None:
        super().__init__(limit_per_second, now)
        self.share(1.0, now)
        self._factor = FIRST
        self._least = math.inf  # the least that remained in this second, in calls
        self._since = now

    def observe(self, reply: Reply, now: float) -> None:
        """Adapts to the `x-ratelimit-*` headers of a success."""
        super().observe(reply, now)
        if reply.rate_remaining is not None and reply.status is not None and reply.status < 300:  # noqa: PLR2004 - a success
            self._least = min(self._least, reply.rate_remaining)

    def throttled(self, now: float) -> None:
        """A 429 came."""
        super().throttled(now)
        self._least, self._since = math.inf, now

    def _recover(self, elapsed: float, now: float) -> None:  # noqa: ARG002 - a rate's
        """Each second that left room, one step up."""
        if now - self._since < _SECOND:
            return
        if _ROOM * self.limit <= self._least < math.inf:
            self._factor = min(MOST, self._factor + _STEP)
        self._least, self._since = math.inf, now
