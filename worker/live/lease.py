"""Whether this process may still send for its partitions.

The first race: the process is frozen (SIGSTOP, a suspended machine, a stalled hypervisor). The group gives its
partitions to another member, which sends newer values. The process wakes, does not know that it slept, and its senders
overwrite these with older ones. So the main loop renews a lease at every turn, and senders write a request only while
the lease holds. The lease's clock also counts while the machine is suspended. A lease that ran out cannot be renewed:
first the loop drops everything of the old assignment.

The second race: the loop turns, but the brokers are out of reach. The group gives the partitions away, and nobody can
tell this process. Under KIP-848 librdkafka waits for the coordinator for ever; under the classic protocol it notices a
little after the group has. So the lease also runs out when the coordinator was silent for too long.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from worker.clocks import boot_clock


class Lease:
    """The main thread renews it. Any thread may ask whether it holds.

    They share two floats and one flag. Only the main thread writes them, so there is no lock.

        lease = Lease(30.0)
        lease.begin()
        lease.renew()  # 0.0, at each turn of the loop
        lease.holds()  # True, asked by a sender right before it writes a request
        # ... the process is frozen for a minute ...
        lease.holds()  # False
        lease.renew()  # 60.0: drop everything, then `begin` a new lease
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = boot_clock, *, contact_seconds: float | None = None
    ) -> None:
        """Both spans must be shorter than the time after which the group gives a silent member's partitions away.

        Args:
            seconds: the longest time between two turns of the loop.
            clock: must also count while the machine is suspended.
            contact_seconds: the longest silence of the coordinator. None: the same as `seconds`.
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
        """The main loop turns. Returns 0.0; or, if the lease has run out, the seconds since the last renewal."""
        now = self._clock()
        silent = now - self._renewed_at
        if self._ran_out or silent > self._seconds:
            self._ran_out = True
            return silent
        self._renewed_at = now
        return 0.0

    def heard(self, seconds_ago: float) -> bool:
        """Notes when the coordinator was last heard: `seconds_ago`, or 0 if nothing is assigned.

        Returns False if the lease has run out.
        """
        self._heard_at = self._clock() - seconds_ago
        self._ran_out = self._ran_out or seconds_ago > self._contact_seconds
        return not self._ran_out

    def end(self) -> None:
        """Lets no further request be written. An error ends the worker: it will not renew the lease."""
        self._ran_out = True

    def begin(self) -> None:
        """Begins a new lease. Drop everything of the old assignment before."""
        self._ran_out = False
        self._heard_at = math.inf
        self._renewed_at = self._clock()
