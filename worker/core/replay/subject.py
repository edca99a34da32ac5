"""One user of a replay, and what is to be sent for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from worker.core.model import Now, Partition, Record, Source, UserKey
from worker.core.replay.scope import place_of
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger

SUBJECT_BYTES = 300
NAME_BYTES = 250
"""What a user takes in memory without its entry, and what each of its attributes adds."""

_NOWHERE = Partition("", 0)
_PATIENCE = 3


class Stage(Enum):
    """How far a user has come."""

    WAITING = auto()  # not begun
    SENDING = auto()  # its values are with the engine
    VERIFYING = auto()  # they are delivered or dead letters; has a newer value appeared meanwhile?
    DONE = auto()


class Spot(NamedTuple):
    """Where a value lies in the log, and its record's time in milliseconds."""

    partition: Partition
    offset: int
    timestamp_ms: int

    def is_later(self, other: Spot) -> bool:
        """Whether the value there is newer.

        Kafka has an order within a partition. Between two of them, the records' times decide: a job may read days of
        one before it reads the other.
        """
        if self.partition == other.partition:
            return self.offset > other.offset
        return self.timestamp_ms >= other.timestamp_ms


class Subject(Ledger):
    """A user. To its entry it is the ledger: it counts what is not settled, and has no offsets to commit.

    Attributes:
        key: who.
        place: where in the order of the work.
        entry: what is to be sent, folded. None if nothing is, or the engine has it.
        latest: the attributes that this replay is responsible for; where the newest value of each that is known lies.
        values: how many values of it lie in the range.
        stage: how far it has come.
        settled_at: when all was settled last, in monotonic seconds.
        changed_at: when the log's latest change of it was written, as far as is known, in monotonic seconds.
        sent: something of it was sent, perhaps by an earlier process: its newest value must be sent last.
    """

    __slots__ = (
        *("changed_at", "entry", "key", "latest", "on_settled", "place", "sent", "settled_at", "stage", "values"),
        "waits_since",
    )

    def __init__(self, key: UserKey, on_settled: Callable[[Subject], None]) -> None:  # a plain ledger's is not called
        self.partition = _NOWHERE
        self.live = True
        self.unsettled = self.withheld = 0
        self.key = key
        self.place = place_of(key)
        self.entry: Entry | None = None
        self.latest: dict[str, Spot] = {}
        self.values = 0
        self.stage = Stage.WAITING
        self.settled_at = 0.0
        self.sent = False
        self.changed_at = -math.inf
        self.waits_since: float | None = None
        self.on_settled = on_settled

    def changed(self, timestamp_ms: int, now: Now, *, live: bool) -> None:
        """A record names it. `live`: the record is new; else its time says how old it is."""
        seconds_ago = 0.0 if live else max(0.0, (now.wall_ms - timestamp_ms) / 1_000)
        self.changed_at = max(self.changed_at, now.mono - seconds_ago)

    def is_quiet(self, now: float, seconds: float) -> bool:
        """Whether it has not changed for so long. Whoever never keeps quiet counts as quiet after three times that."""
        if now - self.changed_at >= seconds:
            return True
        if self.waits_since is None:
            self.waits_since = now
        return now - self.waits_since >= _PATIENCE * seconds

    def hold(self, offset: int, timestamp_ms: int) -> None:  # noqa: ARG002 - a ledger's
        """One more entry has something of this user."""
        self.unsettled += 1

    def settle(self, offset: int) -> None:  # noqa: ARG002 - a ledger's
        """An entry is done, or has become part of another one."""
        self.unsettled -= 1
        if not self.unsettled:
            self.on_settled(self)

    def takes(self, name: str, where: Record | Source) -> bool:
        """Whether the newest value of an attribute so far lies there. If so, notes that."""
        known, spot = self.latest.get(name), Spot(where.partition, where.offset, where.timestamp_ms)
        if known is not None and not spot.is_later(known):
            return False
        self.latest[name] = spot
        return True
