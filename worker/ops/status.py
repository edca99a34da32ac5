"""The worker's status: the shape of `/status`, and whether the worker is ready.

Everything here is a snapshot: the main thread makes it, other threads read it. It contains no user's identifier and no
attribute value.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    HALTED = "halted"  # calls are stopped, or the dead letters of unusable records are withheld; nothing is lost
    DRAINING = "draining"


class Problem(StrEnum):
    """What is wrong beside a halt. The most important first."""

    RETRY_AFTER = "retry_after"  # the destination asked for a pause
    DEAD_LETTER_TOPIC = "dead_letter_topic"  # it takes no letters
    SCHEMA_REGISTRY = "schema_registry"
    KAFKA = "kafka"  # brokers, topics, or the share of the rate
    NO_RECORDS = "no_records"  # a partition brings none, though it has some or its end is unknown
    NO_EFFECT = "no_effect"  # records are read, and nothing in them can be sent
    STUCK = "stuck"  # a partition does not advance
    RECEIPTS = "receipts"  # they are lost; calls go on


@dataclass(frozen=True, slots=True)
class Halt:
    """Why calls are stopped, or dead letters withheld. `reason` is one of a few fixed words."""

    reason: str
    since: datetime  # with a time zone
    met: str  # what the worker met, for people
    mend: str = ""  # what to do about it; empty if `met` says that, too
    next_probe: datetime | None = None  # when the destination is asked again; None if it is being asked, or need not be

    @property
    def detail(self) -> str:
        """What the worker met, and what to do about it."""
        return f"{self.met}; {self.mend}" if self.mend else self.met


@dataclass(frozen=True, slots=True)
class LastError:
    """The latest call that did not deliver: when it ended, and what came, in words without anything from its body."""

    at: datetime  # with a time zone
    detail: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A written dead letter: where its first source lies (None if it has none), and its attributes' names, no value."""

    at: datetime  # with a time zone
    reason: str
    topic: str | None
    partition: int | None
    offset: int | None
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReceiptTotals:
    """Receipts of calls: those that the brokers acknowledged, and those that were given up."""

    written: int
    lost: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second: the token's `limit`, this worker's `share` of it, and what it allows itself now."""

    limit: float
    share: float
    current: float | None = None  # below the share while the destination asks for less; None if not known yet


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition. Each offset is that of a next record; None if not known yet.

    `end` is the high watermark. `oldest_undelivered_seconds` is the age, by its timestamp, of the oldest record that
    was read and is not settled; None if there is none.
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
        """Records between the committed offset and the end. Before any commit, between the position and the end."""
        reached = self.position if self.committed is None else self.committed
        if reached is None or self.end is None:
            return None
        return max(self.end - reached, 0)


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the worker, as in `/status`.

    Attributes:
        joined: whether the worker is a member of its group, even if it has no partition.
        problem: the most important of what is wrong beside a halt, in words. None if nothing is.
        problems: all that is wrong.
        destination: scheme, host and port that calls go to.
        last_error: the latest call that did not deliver. None before the first.
        held_bytes_max: the memory budget.
        remembered_users: users of whom sparing remembers values.
        remembered_bytes: the memory that these take, a part of `held_bytes`.
        letters_withheld: dead letters that wait for good records.
        partitions_subscribed: the partitions of all subscribed topics, whoever holds them. None until they are counted.
        retention_seconds: how long each topic keeps its records. Without those that keep all, or do not tell.
        halted_seconds: the time spent halted since the start, by reason.
        calls_allowed: the calls that the rate allowed since the start.
        calls_ended: requests that ended since the start, by what became of them.
        latest_dead_letters: a few, the latest first.
        receipts: how many since the start. None: none are written.
        settings: the effective settings that matter on call, by their names.
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
    problems: tuple[Problem, ...] = ()
    destination: str = ""
    last_error: LastError | None = None
    held_bytes_max: int = 0
    remembered_users: int = 0
    remembered_bytes: int = 0
    letters_withheld: int = 0
    partitions_subscribed: int | None = None
    retention_seconds: Mapping[str, float] = field(default_factory=dict)
    halted_seconds: Mapping[str, float] = field(default_factory=dict)
    calls_allowed: float = 0.0
    calls_ended: Mapping[str, int] = field(default_factory=dict)
    latest_dead_letters: tuple[DeadLetter, ...] = ()
    receipts: ReceiptTotals | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def starting(cls, *, version: str, instance: str, group_id: str, rate_limit: float) -> Status:
        """The status before the main loop's first report."""
        rate = Rate(limit=rate_limit, share=0.0)
        return cls(state=State.STARTING, version=version, instance=instance, group_id=group_id, rate=rate)

    @property
    def oldest_undelivered_seconds(self) -> float | None:
        """The largest of the partitions' ages, 0 if nothing waits; None without a partition."""
        if not self.partitions:
            return None
        return max(partition.oldest_undelivered_seconds or 0.0 for partition in self.partitions)

    @property
    def ready(self) -> bool:
        """Whether the worker has joined the group, and is running or throttled."""
        return self.joined and self.state in {State.RUNNING, State.THROTTLED}

    def to_json(self) -> dict[str, Any]:
        """The status as a JSON object: enumerations as words, times as RFC 3339 in UTC."""
        document = asdict(self)
        document["state"] = self.state.value
        for name in ("replies", "dead_letters"):  # `asdict` copies a Counter wrongly: it counts the pairs
            document["totals"][name] = dict(getattr(self.totals, name))
        if self.halt is not None:
            document["halt"]["detail"] = self.halt.detail
            document["halt"]["since"] = rfc3339(self.halt.since)
            document["halt"]["next_probe"] = None if self.halt.next_probe is None else rfc3339(self.halt.next_probe)
        if self.last_error is not None:
            document["last_error"]["at"] = rfc3339(self.last_error.at)
        for shown, partition in zip(document["partitions"], self.partitions, strict=True):
            shown["lag"] = partition.lag
        for shown, letter in zip(document["latest_dead_letters"], self.latest_dead_letters, strict=True):
            shown["at"] = rfc3339(letter.at)
        return document
