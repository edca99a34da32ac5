"""What the worker says about itself: the shape of `/status`, and whether it is ready.

Everything here is a snapshot that the main thread makes and other threads only read. It holds no user's
identifier and no attribute value.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from worker.core.totals import Totals


def rfc3339(moment: datetime) -> str:
    """An aware moment as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class State(StrEnum):
    """What the worker is doing."""

    STARTING = "starting"
    RUNNING = "running"
    THROTTLED = "throttled"  # delivering, but slower than its share: a 429 or a Retry-After asked for it
    HALTED = "halted"  # calls (in a storm of records: their dead letters) are held back; everything is kept
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Halt:
    """Why calls, or letters, are held back. `reason` is one of a small closed set of words, `detail` is for people."""

    reason: str
    since: datetime  # with a time zone
    detail: str


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second: the token's `limit`, this worker's `share` of it, and what it uses now."""

    limit: float
    share: float
    current: float | None = None  # below the share while the destination asks for less; None: not known


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition. Offsets are those of the next record; None where not known yet.

    `end` is the partition's high watermark. `oldest_undelivered_seconds` is the age, by its timestamp, of the
    oldest record that was read and is not settled; None when there is none.
    """

    topic: str
    partition: int
    position: int | None
    committed: int | None
    end: int | None
    paused: bool
    oldest_undelivered_seconds: float | None

    @property
    def lag(self) -> int | None:
        """Records between what is committed (or, before any commit, read) and the end."""
        reached = self.position if self.committed is None else self.committed
        if reached is None or self.end is None:
            return None
        return max(self.end - reached, 0)


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the worker, as `/status` gives it.

    `joined` is true while the worker is a member of its group (an assignment may be empty). `problem` says in
    words what is wrong with Kafka, the dead-letter topic or the schema registry, if anything is.
    """

    state: State
    version: str
    instance: str
    group_id: str
    rate: Rate
    halt: Halt | None = None
    open_entries: int = 0
    in_flight: int = 0
    held_bytes: int = 0
    partitions: tuple[PartitionStatus, ...] = ()
    totals: Totals = field(default_factory=Totals)
    joined: bool = False
    problem: str | None = None

    @classmethod
    def starting(cls, *, version: str, instance: str, group_id: str, rate_limit: float) -> Status:
        """The status before the main loop has said anything."""
        rate = Rate(limit=rate_limit, share=0.0)
        return cls(state=State.STARTING, version=version, instance=instance, group_id=group_id, rate=rate)

    @property
    def ready(self) -> bool:
        """Joined to the group, and the destination takes calls."""
        return self.joined and self.state in {State.RUNNING, State.THROTTLED}

    def to_json(self) -> dict[str, Any]:
        """The status as a JSON object: enumerations as words, times as RFC 3339 in UTC."""
        document = asdict(self)
        document["state"] = self.state.value
        for name in ("replies", "dead_letters"):  # `asdict` counts a counter's items anew
            document["totals"][name] = dict(getattr(self.totals, name))
        if self.halt is not None:
            document["halt"]["since"] = rfc3339(self.halt.since)
        for shown, partition in zip(document["partitions"], self.partitions, strict=True):
            shown["lag"] = partition.lag
        return document
