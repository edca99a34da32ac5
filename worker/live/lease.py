"""Whether this process may still speak for its partitions.

A process that was stopped (SIGSTOP, a suspended machine, a stalled hypervisor) wakes with its partitions gone to
another member, and with requests ready to overwrite what that member has sent. No thread of it can know that it slept.
So the main loop renews a lease at every turn, and a request is written only while the lease holds; the clock is one
that counts while the machine is suspended. A lease that ran out is not renewed: first everything of the old assignment
must go.

A process that turns but does not reach the brokers loses its partitions as well, and nobody can tell it so: under
KIP-848 librdkafka waits for the coordinator's word for ever, under the classic protocol until a little after the group
has given up. So the lease holds only as long as the coordinator was heard, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


def boot_clock() -> float:
    """Seconds since the machine started, time in suspension included (where the system tells it)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """The main thread renews it; any thread may ask whether it holds.

    What they share is two floats and one flag, each written by the main thread alone.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = boot_clock, *, contact_seconds: float | None = None
    ) -> None:
        """Both spans must be below the time after which the group gives the partitions of a silent member away.

        Args:
            seconds: how long the loop may not turn.
            clock: one that counts while the machine is suspended.
            contact_seconds: how long the coordinator may not be heard; `seconds` where None.
        """
        self._seconds = seconds
        self._contact_seconds = seconds if contact_seconds is None else contact_seconds
        self._clock = clock
        self._renewed_at = clock()
        self._heard_at = math.inf
        self._ran_out = False

    def holds(self) -> bool:
        """Whether a request may be written now."""
        now = self._clock()
        turned, heard = now - self._renewed_at, now - self._heard_at
        return not self._ran_out and turned <= self._seconds and heard <= self._contact_seconds

    def renew(self) -> float:
        """The main loop turns. Returns 0, or for how many seconds it had not when the lease had run out."""
        now = self._clock()
        silent = now - self._renewed_at
        if self._ran_out or silent > self._seconds:
            self._ran_out = True
            return silent
        self._renewed_at = now
        return 0.0

    def heard(self, seconds_ago: float) -> bool:
        """The group's coordinator answered so long ago; 0 where nothing is held. False: the lease has run out by it."""
        self._heard_at = self._clock() - seconds_ago
        self._ran_out = self._ran_out or seconds_ago > self._contact_seconds
        return not self._ran_out

    def begin(self) -> None:
        """A new lease: nothing of the assignments before it is left."""
        self._ran_out = False
        self._heard_at = math.inf
        self._renewed_at = self._clock()
