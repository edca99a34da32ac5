"""One gate in front of all senders: open, ramping up after a halt, paused by Retry-After, or closed.

Without it every sender would retry at once in an outage, and every user's call would meet the same 401. A closed gate
lets one real entry through at a time as a probe, each probe after a longer pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from worker.core.model import UserKey

# Consecutive failures of this many different users, or of this many calls for any users, mean an outage.
FAILING_USERS = 3
FAILING_CALLS = 5


class HaltReason(StrEnum):
    """Why the gate is closed."""

    UNAUTHORIZED = "unauthorized"
    WRONG_URL = "wrong_url"
    UNAVAILABLE = "unavailable"
    REJECTION_STORM = "rejection_storm"


@dataclass(frozen=True, slots=True)
class Halt:
    """A closed gate: why, since when (milliseconds since the epoch), and what the latest probe met, for people."""

    reason: HaltReason
    since_ms: int
    detail: str


class Passage(Enum):
    """What the gate lets through at an instant."""

    FREE = auto()
    PROBE = auto()
    NONE = auto()


class Gate:
    """Lets calls through as the destination's replies allow. Every instant is in monotonic seconds.

        gate.passage(in_flight=3, now=10.0)  # FREE
        gate.close(HaltReason.UNAUTHORIZED, "status 401", probe=False, now=10.1, wall_ms=wall_ms)
        gate.passage(in_flight=2, now=10.2)  # NONE: the pause before the first probe has not ended
        gate.passage(in_flight=0, now=12.0)  # PROBE: send one call, and call `probe_started`
        gate.succeeded(12.1, probe=True)  # returns the Halt that ended; one call may be in flight now, then two, ...

    Attributes:
        halt: why the gate is closed; None while it is open.
        outage_ended_at: when the last real outage ended. A halt that one bad user may have caused does not count.
    """

    def __init__(self, backoff: Callable[[int], float], *, probe_max_seconds: float, concurrency: int) -> None:
        """`backoff` gives the pause after the n-th failed probe, in seconds, capped at `probe_max_seconds`."""
        self._backoff = backoff
        self._probe_max_seconds = probe_max_seconds
        self._concurrency = concurrency
        self._allowed = concurrency  # calls allowed in flight; after a halt, starts at 1 and grows with each success
        self._failing_users: set[UserKey] = set()
        self._failing_calls = 0
        self._failed_probes = 0
        self._probe_at = -math.inf
        self._probing = False
        self._retry_after_until = -math.inf
        self.halt: Halt | None = None
        self.outage_ended_at = -math.inf

    def passage(self, in_flight: int, now: float) -> Passage:
        """What may be sent now, if `in_flight` calls have no reply yet."""
        if now < self._retry_after_until:
            return Passage.NONE
        if self.halt is not None:
            return Passage.PROBE if not self._probing and now >= self._probe_at else Passage.NONE
        return Passage.FREE if in_flight < self._allowed else Passage.NONE

    def next_passage(self) -> float:
        """When a passage opens even if no reply comes. Infinite while a probe is in flight: only its reply decides."""
        if self.halt is None:
            return self._retry_after_until
        return math.inf if self._probing else max(self._retry_after_until, self._probe_at)

    def probe_started(self) -> None:
        """A probe is in flight: no other call may start before it ends."""
        self._probing = True

    def in_retry_after(self, now: float) -> bool:
        """Whether a Retry-After is in force."""
        return now < self._retry_after_until

    def retry_after(self, seconds: float, now: float) -> None:
        """The destination asked for a pause (Retry-After)."""
        self._retry_after_until = max(self._retry_after_until, now + seconds)

    def succeeded(self, now: float, *, probe: bool) -> Halt | None:
        """A call succeeded. Returns the halt that this ended, if any."""
        if self.halt is not None and not probe:
            return None  # sent before the halt began, so its success does not show that the halt is over
        # If fewer than FAILING_USERS users failed, one bad user may have closed the gate. Don't count that as an
        # outage: it would restart that user's server_error timer with every success of another user.
        one_user = len(self._failing_users) < FAILING_USERS
        self._failing_users.clear()
        self._failing_calls = 0
        ended, self.halt = self.halt, None
        if ended is not None:
            if ended.reason is not HaltReason.UNAVAILABLE or not one_user:
                self.outage_ended_at = now
            self._allowed = 1
            self._failed_probes = 0
            self._probing = False
        elif self._allowed < self._concurrency:
            self._allowed += 1
        return ended

    def only_failing(self, key: UserKey) -> bool:
        """Whether only this user's calls failed since the last success. False in a halt that is not an outage."""
        other_halt = self.halt is not None and self.halt.reason is not HaltReason.UNAVAILABLE
        return not other_halt and self._failing_users <= {key}

    def failed(self, key: UserKey, detail: str, *, probe: bool, now: float, wall_ms: int) -> bool:
        """A call failed as in an outage (5xx, time-out, no connection). Returns whether this closed the gate."""
        self._failing_calls += 1
        if len(self._failing_users) < FAILING_USERS:
            self._failing_users.add(key)
        if len(self._failing_users) < FAILING_USERS and self._failing_calls < FAILING_CALLS and self.halt is None:
            return False
        return self.close(HaltReason.UNAVAILABLE, detail, probe=probe, now=now, wall_ms=wall_ms)

    def close(self, reason: HaltReason, detail: str, *, probe: bool, now: float, wall_ms: int) -> bool:
        """Closes the gate, or keeps it closed after a failed probe. Returns whether the reason is new."""
        known = self.halt
        if known is not None and not probe:
            return False  # sent before the halt began, so it is no failed probe
        self._failed_again(now)
        if known is not None and known.reason is reason:
            self.halt = Halt(reason, known.since_ms, detail)
            return False
        self.halt = Halt(reason, wall_ms, detail)
        return True

    def _failed_again(self, now: float) -> None:
        self._probing = False
        self._failed_probes += 1
        self._probe_at = now + min(self._backoff(self._failed_probes), self._probe_max_seconds)

    def probe_ended(self, now: float) -> None:
        """The probe ended, but its reply does not show whether the halt is over. The next probe need not wait.

        Except in a rejection storm: one more refusal changes nothing, and each isolation causes many.
        """
        if (halt := self.halt) is not None and halt.reason is HaltReason.REJECTION_STORM:
            self._failed_again(now)
        else:
            self._probing, self._probe_at = False, now

    def probe_soon(self, now: float) -> None:
        """Something changed (a new token, a drain): the next probe may start at `now`."""
        self._probe_at = now
