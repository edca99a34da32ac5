"""What the demo shows. All of it comes from the worker's `/status` and from the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NOT_ANSWERING: Mapping[str, Any] = {"state": "starting", "halt": None, "totals": {}, "rate": {}, "partitions": []}


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at everything. Rates are in calls per second. `calls_by_second` ends with the latest whole second."""

    seconds: float
    events_planned: int
    events_produced: int = 0
    events_read: int = 0
    calls: int = 0
    calls_saved: int = 0
    users_waiting: int = 0
    lag: int = 0
    committed: int = 0
    state: str = "starting"
    halt: str | None = None
    rate_share: float = 0.0
    rate_allowed: float = 0.0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    calls_by_second: Sequence[int] = ()

    @property
    def answered_429(self) -> int:
        """How often the sandbox answered 429."""
        return self.answers.get("429", 0)

    @property
    def answered_500(self) -> int:
        """How often the sandbox answered 500."""
        return self.answers.get("500", 0)

    @property
    def saved_ratio(self) -> float:
        """The share of calls saved by coalescing, 0 to 1."""
        return self.calls_saved / (self.calls + self.calls_saved) if self.calls_saved else 0.0

    @property
    def settled(self) -> bool:
        """Whether every planned event is produced, read, and committed."""
        return self.events_planned == self.events_produced == self.events_read == self.committed


def look(
    seconds: float,
    planned: int,
    produced: int,
    status: Mapping[str, Any] | None,
    stats: Mapping[str, Any],
    now: float,
) -> Figures:
    """Combines the two sources. `now` is in epoch seconds. `status` is None while the worker does not answer."""
    known = status or _NOT_ANSWERING
    totals, rate, halt = known["totals"], known["rate"], known["halt"]
    return Figures(
        seconds=seconds,
        events_planned=planned,
        events_produced=produced,
        events_read=totals.get("records", 0),
        calls=stats["requests"],
        calls_saved=totals.get("calls_saved", 0),
        users_waiting=known.get("open_entries", 0),
        lag=sum(partition["lag"] or 0 for partition in known["partitions"]),
        committed=sum(partition["committed"] or 0 for partition in known["partitions"]),
        state=known["state"],
        halt=f"{halt['reason']}: {halt['detail']}" if halt else None,
        rate_share=rate.get("share", 0.0),
        rate_allowed=rate.get("share", 0.0) if rate.get("current") is None else rate["current"],
        dead_letters={reason: count for reason, count in totals.get("dead_letters", {}).items() if count},
        answers=stats["by_status"],
        calls_by_second=_by_second(stats["per_second"], int(now)),
    )


def _by_second(counted: Sequence[Sequence[int]], now: int) -> list[int]:
    """The requests of every whole second since the first. The sandbox leaves out seconds without requests."""
    if not counted:
        return []
    counts = {second: requests for second, requests, _ in counted}
    return [counts.get(second, 0) for second in range(counted[0][0], now)]
