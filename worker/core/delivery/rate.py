"""This worker's share of the API token's rate: a token bucket whose rate follows what the destination says.

The limit belongs to the API token, so all replicas share it. Each takes the fraction that matches its partitions: so
the fractions never add up to more than the limit, and no replica needs to hear from another.
"""

from __future__ import annotations

import math

from worker.core.model import Reply

# The destination counts by the seconds of its own clock, and requests reach it with jitter. At exactly the limit many
# of its seconds would end in a 429; 5 % of room keeps these rare.
HEADROOM = 0.95
# How much unused rate may be saved up, in seconds: enough to bridge a busy main loop, and little beside the second by
# which the destination counts.
BURST_SECONDS = 0.1
DECREASE = 0.7  # of the rate, at a 429; at most once a second: all 429s of a second say the same
RECOVERY_PER_SECOND = 0.05  # of the full share, added back while no 429 comes
FLOOR = 0.02  # of the full share: with fewer calls the worker would not notice that it may go faster again
_SECOND = 1.0
# A whole token, less rounding: at the instant that `next_ready` gives there must be one.
_TOKEN = 1.0 - 1e-6


class Rate:
    """A token bucket for calls. Every instant is in monotonic seconds."""

    def __init__(self, limit_per_second: float, now: float) -> None:
        self._configured = limit_per_second
        self._announced = math.inf  # the latest x-ratelimit-limit
        self._fraction = 0.0
        self._factor = 1.0
        self._tokens = 1.0
        self._filled_at = now
        self._decreased_at = -math.inf
        self._quiet_until = -math.inf
        self._window_seen_at = now  # when the destination last began a new second
        self._remaining = 0

    @property
    def limit(self) -> float:
        """The API token's limit in calls a second: the configured one, or a lower one that replies announce."""
        return min(self._configured, self._announced)

    @property
    def per_second(self) -> float:
        """The calls a second that this worker allows itself now."""
        return self.share_per_second * HEADROOM * self._factor

    @property
    def share_per_second(self) -> float:
        """This worker's part of the limit, in calls a second."""
        return self.limit * self._fraction

    @property
    def slowed(self) -> bool:
        """Whether the destination's 429s keep the rate below its share."""
        return self._factor < 1.0

    def share(self, fraction: float, now: float) -> None:
        """From now on this worker has `fraction` (0 to 1) of all partitions."""
        self._fill(now)
        self._fraction = fraction
        self._tokens = min(self._tokens, self._capacity)  # tokens saved from a larger share belong to another worker

    def ready(self, now: float) -> bool:
        """Whether a call may be made at this instant."""
        self._fill(now)
        return now >= self._quiet_until and self._tokens >= _TOKEN

    def spend(self) -> None:
        """A call starts."""
        self._tokens -= 1.0

    def next_ready(self, now: float) -> float:
        """The instant of the next token; infinite while the share is 0."""
        self._fill(now)
        if self.per_second <= 0.0:
            return math.inf
        missing = max(0.0, 1.0 - self._tokens)
        return max(self._quiet_until, now + missing / self.per_second)

    def observe(self, reply: Reply, now: float) -> None:
        """Follows the `x-ratelimit-*` headers of a reply."""
        if reply.rate_limit is not None and reply.rate_limit > 0:
            self._fill(now)
            self._announced = float(reply.rate_limit)
        if reply.rate_remaining is None:
            return
        # Replies overtake each other, so only a clear jump upwards counts as a new second of the destination.
        if reply.rate_remaining - self._remaining > self.limit / 4:
            self._window_seen_at = now
        self._remaining = reply.rate_remaining
        if reply.rate_remaining <= 0:
            self._wait_for_next_second(now)

    def throttled(self, now: float) -> None:
        """A 429 came: slow down."""
        self._wait_for_next_second(now)
        if now - self._decreased_at < _SECOND:
            return
        self._fill(now)
        self._decreased_at = now
        self._factor = max(FLOOR, self._factor * DECREASE)
        self._tokens = min(self._tokens, 0.0)

    def _wait_for_next_second(self, now: float) -> None:
        """No call until the destination's next second, as far as its replies show when that begins."""
        elapsed = now - self._window_seen_at
        self._quiet_until = self._window_seen_at + (math.floor(elapsed / _SECOND) + 1) * _SECOND

    def _fill(self, now: float) -> None:
        elapsed = now - self._filled_at
        if elapsed <= 0.0:
            return
        self._filled_at = now
        if self._factor < 1.0 and now - self._decreased_at >= _SECOND:
            self._factor = min(1.0, self._factor + RECOVERY_PER_SECOND * min(elapsed, _SECOND))
        self._tokens = min(self._capacity, self._tokens + elapsed * self.per_second)

    @property
    def _capacity(self) -> float:
        return max(1.0, self.per_second * BURST_SECONDS)
