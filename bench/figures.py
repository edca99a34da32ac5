"""One measurement of a run, and how a process's CPU seconds are read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: `events` took `seconds`, and `cpu_seconds` of CPU. `calls` is 0 if the run makes none."""

    events: int
    seconds: float
    cpu_seconds: float
    calls: int = 0

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds per 1,000 events."""
        return self.cpu_seconds / self.events * 1000


def resident_mebibytes(pid: int, *, most: bool) -> float:
    """The memory that a process has now, or the most that it ever had, as the kernel counts it."""
    name = "VmHWM:" if most else "VmRSS:"
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads, to a hundredth of a second."""
    # The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th fields, the 3rd follows it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
