"""One gate before all senders: open, ramping up after an outage, paused, or closed with single probes.

In an outage not every sender may retry at once, and a destination that refuses everyone need not be asked by everyone.
A closed gate lets one real entry through at a time, each after a longer pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from worker.core.model import UserKey

# If so many different users fail in a row, or so many calls for whichever users, the destination is to blame.
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
    """A closed gate: why, since when (milliseconds since the epoch), and what the latest call ran into."""

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
        gate.passage(in_flight=2, now=10.2)  # NONE: not before the first pause is over
        gate.passage(in_flight=0, now=12.0)  # PROBE: send one call and tell `probe_started`
        gate.succeeded(12.1, probe=True)  # the Halt that this ends; the gate opens one call wide

    Attributes:
        halt: why the gate is closed; None while it is open.
        opened_at: when a halt last ended that was the destination's doing, not one bad user's.
    """

    def __init__(self, backoff: Callable[[int], float], *, probe_max_seconds: float, concurrency: int) -> None:
        """`backoff` gives the pause after the n-th failed probe, in seconds; it is cut to `probe_max_seconds`."""
        self._backoff = backoff
        self._probe_max_seconds = probe_max_seconds
        self._concurrency = concurrency
        self._allowed = concurrency  # how many calls may be in flight; after a halt it grows from 1
        self._failing_users: set[UserKey] = set()
        self._failing_calls = 0
        self._failed_probes = 0
        self._probe_at = -math.inf
        self._probing = False
        self._paused_until = -math.inf
        self.halt: Halt | None = None
        self.opened_at = -math.inf

    def passage(self, in_flight: int, now: float) -> Passage:
        """What may be sent now, while `in_flight` calls have no reply yet."""
        if now < self._paused_until:
            return Passage.NONE
        if self.halt is not None:
            return Passage.PROBE if not self._probing and now >= self._probe_at else Passage.NONE
        return Passage.FREE if in_flight < self._allowed else Passage.NONE

    def next_passage(self) -> float:
        """The earliest instant at which time alone may open a passage."""
        if self.halt is None:
            return self._paused_until
        return math.inf if self._probing else max(self._paused_until, self._probe_at)

    def probe_started(self) -> None:
        """The single probe is in flight: no other call may go before it ends."""
        self._probing = True

    def paused(self, now: float) -> bool:
        """Whether a Retry-After holds everything back."""
        return now < self._paused_until

    def pause(self, seconds: float, now: float) -> None:
        """The destination asked for a pause of so many seconds."""
        self._paused_until = max(self._paused_until, now + seconds)

    def succeeded(self, now: float, *, probe: bool) -> Halt | None:
        """A call succeeded. Returns the halt that this ends, if there was one."""
        if self.halt is not None and not probe:
            return None  # it was sent before the halt, so it tells nothing about now
        # If fewer than FAILING_USERS users failed, one bad user may have closed the gate. Don't count that as an
        # outage: it would restart that user's server_error timer with every success of another user.
        one_user = len(self._failing_users) < FAILING_USERS
        self._failing_users.clear()
        self._failing_calls = 0
        ended, self.halt = self.halt, None
        if ended is not None:
            if ended.reason is not HaltReason.UNAVAILABLE or not one_user:
                self.opened_at = now
            self._allowed = 1
            self._failed_probes = 0
            self._probing = False
        elif self._allowed < self._concurrency:
            self._allowed += 1
        return ended

    def blames(self, key: UserKey) -> bool:
        """Whether only this user's calls failed since the last success."""
        closed = self.halt is not None and self.halt.reason is not HaltReason.UNAVAILABLE
        return not closed and self._failing_users <= {key}

    def failed(self, key: UserKey, detail: str, *, probe: bool, now: float, wall_ms: int) -> bool:
        """A call failed as calls do in an outage. Returns whether this closed the gate."""
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
            return False  # it was sent before the halt, so it tells nothing new
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
        """The probe's answer does not tell whether the halt is over: the next probe need not wait.

        In a storm of refusals it waits: one more refusal is no news, and a search makes many of them.
        """
        if (halt := self.halt) is not None and halt.reason is HaltReason.REJECTION_STORM:
            self._failed_again(now)
        else:
            self._probing, self._probe_at = False, now

    def probe_soon(self, now: float) -> None:
        """Something has changed (a new token): the next probe need not wait."""
        self._probe_at = now
