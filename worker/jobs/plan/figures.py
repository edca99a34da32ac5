"""The figures of a plan, and their JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self

from worker.jobs.plan.lane import Lane

_SHARE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Pace:
    """Calls a second, over the seconds of the span."""

    mean: float
    p99: int
    max: int

    @classmethod
    def of(cls, due: Mapping[int, int], span_seconds: float) -> Self:
        """From the calls that became due in each second. A second without a call counts, too."""
        if not due:
            return cls(0.0, 0, 0)
        seconds = max(math.ceil(span_seconds), max(due) - min(due) + 1)
        busy = sorted(due.values())
        rank = math.ceil(_SHARE * seconds) - 1 - (seconds - len(busy))
        p99 = busy[rank] if rank >= 0 else 0
        return cls(round(sum(busy) / max(1.0, span_seconds), 3), p99, busy[-1])


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """What one window would cost.

    Attributes:
        calls: what the window alone asks for. Calls that the limit holds back take more changes, so fewer are made.
        calls_saved: changes that need no call of their own.
        calls_per_second: of the calls, when they become due.
        calls_at_limit: calls that are made if the limit holds.
        calls_late: those of them that the limit holds back for more than a second.
        calls_early: those of them that go early, because all that waits does not fit into WORKER_WINDOW__MAX_BYTES.
        wait_seconds_max: the longest time that the limit holds a call back.
        delay_seconds_max: the longest time from a change to its call, within the limit.
        held_bytes_max: the most that waits, within the limit. An estimate from above.
        due: the calls that become due, by second of the epoch.
    """

    seconds: float
    calls: int
    calls_saved: int
    calls_per_second: Pace
    share_of_limit: float
    delay_seconds_max: float
    held_bytes_max: int
    calls_at_limit: int
    calls_late: int
    calls_early: int
    wait_seconds_max: float
    due: Counter[int]

    @classmethod
    def of(cls, free: Lane, limited: Lane, *, changes: int, span_seconds: float, limit: float) -> Self:
        """From the same window without and with the limit."""
        pace = Pace.of(free.due, span_seconds)
        return cls(
            seconds=free.seconds,
            calls=free.calls,
            calls_saved=changes - free.calls,
            calls_per_second=pace,
            share_of_limit=round(pace.mean / limit, 4),
            delay_seconds_max=round(limited.delay_ms / 1000, 3),
            held_bytes_max=limited.held_bytes,
            calls_at_limit=limited.calls,
            calls_late=limited.late,
            calls_early=limited.early,
            wait_seconds_max=round(limited.wait_ms / 1000, 3),
            due=free.due,
        )


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas are of use. `advice` is for people."""

    useful_max: int
    advice: str


@dataclass(frozen=True, slots=True)
class Figures:
    """A whole plan.

    Attributes:
        records: all of the span, also those without a change.
        users_exact: whether the users are counted, not estimated.
        unreadable: records that cannot be decoded.
        span_seconds: from the first to the last record.
        began_ms: the time of the first record. None if there is none.
        limit: calls a second.
    """

    records: int
    changes: int
    users: int
    users_exact: bool
    unreadable: int
    span_seconds: float
    began_ms: int | None
    limit: float
    windows: Sequence[WindowFigures]
    replicas: Replicas

    def as_json(self) -> dict[str, object]:
        """One object. Without what only the picture needs."""
        windows = [{name: value for name, value in asdict(each).items() if name != "due"} for each in self.windows]
        return {
            "records": self.records,
            "changes": self.changes,
            "users": self.users,
            "span_seconds": self.span_seconds,
            "windows": windows,
            "replicas": asdict(self.replicas),
            "limit_per_second": self.limit,
            "users_exact": self.users_exact,
            "unreadable": self.unreadable,
        }
