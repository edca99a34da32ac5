"""The rate of a job that takes what live traffic leaves of the token's limit."""

from __future__ import annotations

import math
from typing import Final

from worker.core.delivery.rate import HEADROOM, Rate
from worker.core.model import Reply

FIRST: Final = 0.1
MOST: Final = 0.9
"""Of the limit, in calls a second: what it begins with, and what it never exceeds."""
_STEP: Final = 0.05  # up, for each second that left room; twice as much down for one that left hardly any
_ROOM: Final = 0.1
_HARDLY_ANY: Final = 0.04
_LEAST: Final = 0.01
_SECOND: Final = 1.0


class SpareRate(Rate):
    """Begins at a tenth of the limit. Rises while `x-ratelimit-remaining` shows room, and halves at a 429.

    Without that header it stays where it is: nothing shows what the live workers need.
    """

    _decrease = 0.5
    _headroom_seen = HEADROOM  # it has the whole limit, but not alone

    def __init__(self, limit_per_second: float, now: float) -> None:
        super().__init__(limit_per_second, now)
        self.share(1.0, now)
        self._factor = FIRST / HEADROOM
        self._remained = math.inf  # the least of this second, in calls
        self._since = now

    def observe(self, reply: Reply, now: float, in_flight: int = 0) -> None:
        """Adapts to the `x-ratelimit-*` headers of a success. The last calls of a second are for the live workers."""
        super().observe(reply, now, in_flight)
        if reply.rate_remaining is not None and reply.status is not None and reply.status < 300:  # noqa: PLR2004 - a success
            self._remained = min(self._remained, reply.rate_remaining)
            if reply.rate_remaining < _HARDLY_ANY * self.limit:
                self.wait_for_next_second(now)

    def throttled(self, now: float) -> None:
        """A 429 came."""
        super().throttled(now)
        self._remained, self._since = math.inf, now

    def _recover(self, elapsed: float, now: float) -> None:  # noqa: ARG002 - a rate's
        """Each second, one step up if it left room, two down if it left hardly any."""
        if now - self._since < _SECOND:
            return
        if _ROOM * self.limit <= self._remained < math.inf:
            self._factor = min(MOST / HEADROOM, self._factor + _STEP)
        elif self._remained < _HARDLY_ANY * self.limit:
            self._factor = max(_LEAST, self._factor - 2 * _STEP)
        self._remained, self._since = math.inf, now
