"""This worker's share of the API token's rate: a token bucket that slows down at each 429 and recovers.

The limit belongs to the API token, so all replicas share it. A replica's share is the limit times its partitions by all
partitions. So the shares never add up to more than the limit, and replicas need not talk to each other.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from worker.core.model import Reply

# The destination counts calls per second of its own clock, and requests arrive with jitter. At exactly the limit, many
# seconds would end in a 429. 5 % of headroom makes that rare.
HEADROOM = 0.95
# While a worker sees what is left of the second: it has the whole limit, replies tell, and few calls are in flight.
HEADROOM_SEEN = 0.98
# How much unused rate is saved up, in seconds. Enough for a main loop that was busy, and small beside the one-second
# window in which the destination counts.
BURST_SECONDS = 0.1
DECREASE = 0.7  # the factor at a 429; once a second at most, because one second's 429s are one piece of news
RECOVERY_PER_SECOND = 0.05  # of the full share, added back every second without a 429
FLOOR = 0.02  # of the full share: with fewer calls the worker would not notice that the destination recovered
FORGOTTEN_AFTER = 10  # successes in a row without x-ratelimit-limit: the limit that was announced before is forgotten
_SECOND = 1.0
# By name each costs a function's call in Python.
_SUCCESS_MIN, _SUCCESS_END = int(HTTPStatus.OK), int(HTTPStatus.MULTIPLE_CHOICES)
# One token, less rounding errors: at the instant that `next_ready` returns, `ready` must be true.
_TOKEN = 1.0 - 1e-6


class Rate:
    """A token bucket for calls.

    Every instant is in monotonic seconds.

        rate = Rate(150.0, now=0.0)
        rate.share(0.5, now=0.0)  # half of the partitions: 75 calls a second, less 5 % of headroom
        rate.ready(now=0.1)  # True: start one call, and call `spend`
        rate.throttled(now=0.2)  # a 429: no call in this second, then 70 % of the rate
    """

    _decrease = DECREASE
    _headroom_seen = HEADROOM_SEEN

    def __init__(self, limit_per_second: float, now: float) -> None:
        self._configured = limit_per_second
        self._announced = math.inf  # the latest x-ratelimit-limit
        self._unannounced = 0  # successes without one since then
        self._fraction = 0.0
        self._factor = 1.0
        self._tokens = 1.0
        self._filled_at = now
        self._decreased_at = -math.inf
        self._quiet_until = -math.inf
        self._window_seen_at = now  # when the destination last began a new second
        self._remaining = 0
        self._headroom = HEADROOM
        self._room = math.inf  # so many calls may start before `_room_until`
        self._room_until = -math.inf

    @property
    def limit(self) -> float:
        """The API token's limit in calls a second: the lower of the configured and the announced one."""
        return min(self._configured, self._announced)

    @property
    def per_second(self) -> float:
        """The calls a second that this worker allows itself now."""
        return self.share_per_second * self._headroom * self._factor

    @property
    def share_per_second(self) -> float:
        """This worker's part of the limit, in calls a second."""
        return self.limit * self._fraction

    @property
    def slowed(self) -> bool:
        """Whether 429s keep the rate below this worker's share."""
        return self._factor < 1.0

    def share(self, fraction: float, now: float) -> None:
        """This worker now has `fraction` (0 to 1) of all partitions."""
        self._fill(now)
        self._fraction, self._headroom = fraction, HEADROOM
        self._tokens = min(self._tokens, self._capacity)  # what was saved of a larger share is another worker's now

    def ready(self, now: float) -> bool:
        """Whether a call may start now."""
        self._fill(now)
        return now >= self._quiet_until and self._tokens >= _TOKEN and (self._room >= 1.0 or now >= self._room_until)

    def spend(self) -> None:
        """A call starts: takes one token."""
        self._tokens -= 1.0
        self._room -= 1.0

    def next_ready(self, now: float) -> float:
        """The instant of the next token; infinite while the share is 0."""
        self._fill(now)
        if self.per_second <= 0.0:
            return math.inf
        missing = max(0.0, 1.0 - self._tokens)
        room_at = self._room_until if self._room < 1.0 else now
        return max(self._quiet_until, room_at, now + missing / self.per_second)

    def next_full(self, now: float) -> float:
        """The instant from which on unused rate is lost; infinite while the share is 0."""
        self._fill(now)
        if self.per_second <= 0.0:
            return math.inf
        return max(self._quiet_until, now + (self._capacity - self._tokens) / self.per_second)

    def observe(self, reply: Reply, now: float, in_flight: int = 0) -> None:
        """Adapts to the `x-ratelimit-*` headers of a success. Other replies may be about one user alone.

        `in_flight`: this worker's calls that have no reply yet.
        """
        if reply.status is None or not _SUCCESS_MIN <= reply.status < _SUCCESS_END:
            return
        self._take_announcement(reply.rate_limit, now)
        if reply.rate_remaining is None:
            self._headroom = HEADROOM
            return
        # Replies overtake each other. So only a clear jump upwards means that the destination began a new second.
        is_new = reply.rate_remaining - self._remaining > self.limit / 4
        if is_new:
            self._window_seen_at = now
        if is_new or now >= self._room_until:
            self._room = math.inf
        counts_down = reply.rate_remaining < self._remaining
        self._remaining = reply.rate_remaining
        if counts_down or self._remaining <= 0:
            self._see_room(in_flight, now)

    def _see_room(self, in_flight: int, now: float) -> None:
        """What is left of the destination's second is for calls in flight first.

        With many of them that would cost more than headroom does: the next second is only seen once a reply of it is
        here. With a part of the limit, nobody knows how many calls of others are in flight.
        """
        self._fill(now)
        if self._fraction == 1.0 and in_flight <= self.limit * (1.0 - HEADROOM):
            self._room = min(self._room, self._remaining - in_flight)
            self._headroom = self._headroom_seen
        else:
            self._room = min(self._room, self._remaining)
            self._headroom = HEADROOM
        self._room_until = self._next_second(now)

    def _take_announcement(self, limit: int | None, now: float) -> None:
        """A success announced a limit, or none."""
        if limit is not None and limit > 0:
            self._fill(now)
            self._announced, self._unannounced = float(limit), 0
            return
        self._unannounced += 1
        if self._unannounced >= FORGOTTEN_AFTER and self._announced < math.inf:
            self._fill(now)
            self._announced = math.inf

    def throttled(self, now: float) -> None:
        """A 429 came: slow down."""
        self.wait_for_next_second(now)
        if now - self._decreased_at < _SECOND:
            return
        self._fill(now)
        self._decreased_at = now
        self._factor = max(FLOOR, self._factor * self._decrease)
        self._tokens = min(self._tokens, 0.0)

    def wait_for_next_second(self, now: float) -> None:
        """No call until the destination's next second."""
        self._quiet_until = self._next_second(now)

    def _next_second(self, now: float) -> float:
        """When the destination's next second begins. Its replies show only about when that is."""
        elapsed = now - self._window_seen_at
        return self._window_seen_at + (math.floor(elapsed / _SECOND) + 1) * _SECOND

    def _fill(self, now: float) -> None:
        elapsed = now - self._filled_at
        if elapsed <= 0.0:
            return
        self._filled_at = now
        self._recover(elapsed, now)
        self._tokens = min(self._capacity, self._tokens + elapsed * self.per_second)

    def _recover(self, elapsed: float, now: float) -> None:
        """So much time has passed: goes up again."""
        if self._factor < 1.0 and now - self._decreased_at >= _SECOND:
            self._factor = min(1.0, self._factor + RECOVERY_PER_SECOND * min(elapsed, _SECOND))

    @property
    def _capacity(self) -> float:
        return max(1.0, self.per_second * BURST_SECONDS)
