"""The engine's status, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.delivery.gate import Halt
from worker.core.delivery.verdict import LatestError
from worker.core.intake import PartitionProgress
from worker.core.model import Partition
from worker.core.totals import Totals
from worker.core.watchdog import Stuck


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for people, metrics and other threads. The loop itself asks the engine's methods.

    Attributes:
        halt: why only probes are sent, or why dead letters are withheld. None if neither.
        probe_at: when the closed gate lets the next probe through, in monotonic seconds. None if it is open, or if a
            probe is in flight.
        latest_error: the latest call that did not deliver; None before the first.
        letters_problem: why the dead-letter topic takes no letters now. None if it takes them.
        letters_withheld: dead letters of unusable records that wait for credit.
        rate_limit: the token's limit, in calls a second.
        rate_share: this worker's part of that limit.
        rate_allowed: the calls a second that the worker allows itself while the gate is open.
        rate_now: the same now: 0 while a halt lets only single probes go, or a Retry-After nothing.
        throttled: whether 429s or a Retry-After keep the worker below its share.
        pause_seconds: for how long a Retry-After still forbids every call; 0 if none does.
        memory_short: whether partitions pause because the memory budget is exceeded.
        held_bytes: the memory taken by changes and dead letters that are not settled, and by remembered values.
        held_bytes_max: the memory budget.
        remembered_users: users of whom sparing remembers values.
        remembered_bytes: the memory that these take.
        open_entries: entries that are not settled.
        in_flight: calls without a reply yet.
        progress: how far each assigned partition has come.
        stuck: the partitions that do not advance, and why; the longest wait first.
        totals: the counters since the start.
    """

    halt: Halt | None
    probe_at: float | None
    latest_error: LatestError | None
    letters_problem: str | None
    letters_withheld: int
    rate_limit: float
    rate_share: float
    rate_allowed: float
    rate_now: float
    throttled: bool
    pause_seconds: float
    memory_short: bool
    held_bytes: int
    held_bytes_max: int
    remembered_users: int
    remembered_bytes: int
    open_entries: int
    in_flight: int
    progress: Mapping[Partition, PartitionProgress]
    stuck: tuple[Stuck, ...]
    totals: Totals
