"""Whether this process may still speak for its partitions.

A process that was stopped (SIGSTOP, a suspended machine, a stalled hypervisor) wakes with its partitions gone to
another member, and with requests ready to overwrite what that member has sent. No thread of it can know that it slept.
So the main loop renews a lease at every turn, and a request is written only while the lease holds; the clock is one
that counts while the machine is suspended. A lease that ran out is not renewed: first everything of the old assignment
must go.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def boot_clock() -> float:
    """Seconds since the machine started, time in suspension included (where the system tells it)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """The main thread renews it; any thread may ask whether it holds.

    What they share is one float and one flag, each written by the main thread alone.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = boot_clock) -> None:
        """`seconds` must be below the time after which the group gives the partitions of a silent member away."""
        self._seconds = seconds
        self._clock = clock
        self._renewed_at = clock()
        self._ran_out = False

    def holds(self) -> bool:
        """Whether a request may be written now."""
        return not self._ran_out and self._clock() - self._renewed_at <= self._seconds

    def renew(self) -> float:
        """The main loop turns. Returns 0, or for how many seconds it had not when the lease had run out."""
        now = self._clock()
        silent = now - self._renewed_at
        if self._ran_out or silent > self._seconds:
            self._ran_out = True
            return silent
        self._renewed_at = now
        return 0.0

    def begin(self) -> None:
        """A new lease: nothing of the assignments before it is left."""
        self._ran_out = False
        self._renewed_at = self._clock()
