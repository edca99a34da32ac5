"""One gate in front of all senders: open, ramping up after a halt, paused by Retry-After, or closed.

Without it every sender would retry at once in an outage, and every user's call would meet the same 401. A closed gate
lets one real entry through at a time as a probe, each probe after a longer pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

QUICK_PROBES: Final = 2  # so many probes need not wait if others succeeded just before


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
        gate.passage(in_flight=2, now=10.2)  # NONE: not before the first pause is over
        gate.passage(in_flight=0, now=12.0)  # PROBE: send one call and tell `probe_started`
        gate.succeeded(probe=True)  # the Halt that this ends; the gate opens one call wide

    Attributes:
        closed: why the gate is closed; None while it is open.
    """

    def __init__(self, backoff: Callable[[int], float], *, probe_max_seconds: float, concurrency: int) -> None:
        """`backoff` gives the pause after the n-th failed probe, in seconds, capped at `probe_max_seconds`."""
        self._backoff = backoff
        self._probe_max_seconds = probe_max_seconds
        self._concurrency = concurrency
        self._allowed = concurrency  # how many calls may be in flight; after a halt it grows from 1
        self._failed_probes = 0
        self._probe_at = -math.inf
        self._probing = False
        self._retry_after_until = -math.inf
        self._suspected = False
        self.closed: Halt | None = None

    @property
    def halt(self) -> Halt | None:
        """Why the gate is closed, for people. None while it is open, and while the quick probes are out.

        Else people would see a halt for each single user that meets a 403.
        """
        return None if self._suspected else self.closed

    def passage(self, in_flight: int, now: float) -> Passage:
        """What may be sent now, if `in_flight` calls have no reply yet."""
        if now < self._retry_after_until:
            return Passage.NONE
        if self.closed is not None:
            return Passage.PROBE if not self._probing and now >= self._probe_at else Passage.NONE
        return Passage.FREE if in_flight < self._allowed else Passage.NONE

    def next_passage(self) -> float:
        """When a passage opens even if no reply comes. Infinite while a probe is in flight: only its reply decides."""
        if self.closed is None:
            return self._retry_after_until
        return math.inf if self._probing else max(self._retry_after_until, self._probe_at)

    @property
    def next_probe(self) -> float | None:
        """When the next probe may go. None while the gate is open or a probe is in flight."""
        return None if self.halt is None or self._probing else self.next_passage()

    def probe_started(self) -> None:
        """A probe is in flight: no other call may start before it ends."""
        self._probing = True

    def pause_seconds(self, now: float) -> float:
        """For how long a Retry-After is still in force; 0 if none is."""
        return max(0.0, self._retry_after_until - now)

    def retry_after(self, seconds: float, now: float) -> None:
        """The destination asked for a pause (Retry-After)."""
        self._retry_after_until = max(self._retry_after_until, now + seconds)

    def succeeded(self, *, probe: bool) -> Halt | None:
        """A call succeeded. Returns the halt that this ends, if there was one."""
        if self.closed is not None and not probe:
            return None  # it was sent before the halt, so it tells nothing about now
        ended, self.closed = self.closed, None
        if ended is None:
            self._allowed = min(self._allowed + 1, self._concurrency)
        elif ended.reason is HaltReason.UNAVAILABLE or not (self._suspected or self._failed_probes == 1):
            self._allowed = 1
        # Else the first probe, or a quick one, refuted the halt: one user had met a 403 or the like.
        self._failed_probes, self._probing, self._suspected = 0, False, False
        return ended

    def close(
        self, reason: HaltReason, detail: str, *, probe: bool, now: float, wall_ms: int, at_once: bool = False
    ) -> bool:
        """Closes the gate, or keeps it closed after a failed probe. Returns whether people have to be told.

        With `at_once` the first two probes need not wait, and until both have failed it is no halt yet.
        """
        known, told = self.closed, self.halt
        if known is not None and not probe:
            return False  # it was sent before the halt, so it tells nothing new
        if known is None or self._probing:
            self._suspected = at_once and self._failed_probes < QUICK_PROBES
            self._failed_again(now, at_once=self._suspected)
        since_ms = known.since_ms if known is not None and known.reason is reason else wall_ms
        self.closed = Halt(reason, since_ms, detail)
        return self.halt is not None and (told is None or told.reason is not reason)

    def _failed_again(self, now: float, *, at_once: bool = False) -> None:
        self._probing = False
        self._failed_probes += 1
        pause = 0.0 if at_once else min(self._backoff(self._failed_probes), self._probe_max_seconds)
        self._probe_at = now + pause

    def probe_ended(self, now: float) -> None:
        """The probe ended, but its reply does not show whether the halt is over. The next probe need not wait.

        Except in a rejection storm: one more refusal changes nothing, and each isolation causes many.
        """
        if self.closed is not None and self.closed.reason is HaltReason.REJECTION_STORM:
            self._failed_again(now)
        else:
            self._probing, self._probe_at = False, now

    def probe_soon(self, now: float) -> None:
        """Something has changed (a new token, a drain): the next probe need not wait."""
        self._probe_at = now

    def forget_probe(self) -> None:
        """The probe in flight tells nothing any more: another one may go beside it."""
        self._probing = False
