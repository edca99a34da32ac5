"""A clock that counts on while the machine is suspended."""

from __future__ import annotations

import time


def boot_clock() -> float:
    """Seconds since the machine started, including the time it was suspended if the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
