"""Facts: what happened, as values, for logs, metrics, traces and receipts.

The engine collects its facts until the loop takes them. The loop adds its own facts and passes all of them to the
observers. No fact contains an identifier or an attribute value. There is none per record or per change.

    class Successes:
        def __init__(self) -> None:
            self.calls = 0

        def observe(self, fact: Fact) -> None:
            if isinstance(fact, CallEnded) and fact.verdict is Verdict.DELIVERED:
                self.calls += 1
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from worker.core.cheap import cheap
from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.model import Failure, Letter, Partition, Reason
from worker.core.receipts.receipt import Receipt
from worker.core.trace import CallTrace

FACTS_MAX: Final = 10_000
"""Bound of the facts that wait for the loop; past it the oldest are lost. One turn makes a few hundred at most."""

# -- calls and entries: told by the core -----------------------------------------------------------------------------


@cheap
class CallMade:
    """A request starts. `attributes` is how many it carries; `probe` is true for a closed gate's probe."""

    attributes: int
    probe: bool


@cheap
class CallEnded:
    """A request ended with a `status`, or without a reply, with a `failure`. `seconds` is its duration.

    What follows from it (`Delivered`, `Refused`, `UnusualSuccess`, `Halted`, `Resumed`) is told right behind it.
    `trace` is None unless calls are traced, and `receipt` unless receipts are written.
    """

    verdict: Verdict
    status: int | None
    failure: Failure | None
    seconds: float
    trace: CallTrace | None = None
    receipt: Receipt | None = None


@cheap
class Delivered:
    """An entry is settled, and at least one of its attributes reached the destination.

    `calls` is how many calls the entry took. `age_seconds` is the time since its first change's record timestamp.
    """

    changes: int
    calls: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination refused one attribute sent alone. If `stepped_back`, its previous value is tried next."""

    stepped_back: bool


@dataclass(frozen=True, slots=True)
class UnusualSuccess:
    """The first success with this status, which is not 200."""

    status: int


@dataclass(frozen=True, slots=True)
class SharedUser:
    """A user's changes came from two partitions, between which Kafka has no order. Told only the first time."""


# -- dead letters, halts and memory: told by the core ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LetterWritten:
    """The dead-letter topic acknowledged a letter, given up after `calls` calls, at `failed_at_ms` since the epoch.

    `names` are those of its attributes; `partition` and `offset` say where its first source lies, if it has one;
    `detail` is the letter's, for people, and without a value.
    """

    reason: Reason
    names: tuple[str, ...]
    calls: int
    failed_at_ms: int
    partition: Partition | None
    offset: int | None
    detail: str = ""

    @classmethod
    def of(cls, letter: Letter) -> LetterWritten:
        """The fact about this letter."""
        names = tuple(attribute.name for attribute in letter.attributes)
        first = letter.sources[0] if letter.sources else None
        return cls(
            letter.reason,
            names,
            letter.attempts,
            letter.failed_at_ms,
            partition=None if first is None else first.partition,
            offset=None if first is None else first.offset,
            detail=letter.detail,
        )


@dataclass(frozen=True, slots=True)
class LetterFailed:
    """An attempt to write a dead letter failed. The letter is written again."""

    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Halted:
    """The gate closed, or stays closed for a new reason. `detail` is for people."""

    reason: HaltReason
    detail: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The gate opened again after `halted_seconds`."""

    reason: HaltReason
    halted_seconds: float


@dataclass(frozen=True, slots=True)
class MemoryFull:
    """The memory budget is exceeded: partitions pause, and entries are sent before their window ends."""

    held_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryFreed:
    """Enough memory is free again: partitions resume."""

    held_bytes: int


# -- partitions: told by the loop ------------------------------------------------------------------------------------


class DrainOutcome(StrEnum):
    """How a drain ended."""

    DONE = "done"  # everything was settled
    CUT = "cut"  # by its deadline, or because waiting longer would have delivered nothing
    GONE = "gone"  # its partitions went to another worker meanwhile


class LeaseEnd(StrEnum):
    """Why the lease ran out."""

    LOOP_STOOD_STILL = "loop_stood_still"  # the process was frozen, or the machine slept
    COORDINATOR_SILENT = "coordinator_silent"  # no word from the group's coordinator


@dataclass(frozen=True, slots=True)
class Assigned:
    """These `partitions` were assigned; `held` are assigned now, in all."""

    partitions: tuple[Partition, ...]
    held: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """`lost` partitions were revoked; `held` remain. `seconds` is the drain and its commit."""

    lost: int
    held: int
    outcome: DrainOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PartitionsLost:
    """`lost` partitions went to another worker without a revoke, so undrained; `held` remain."""

    lost: int
    held: int


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """The drain of a revoke or a stop ended. `left` is how many entries and dead letters it did not settle."""

    outcome: DrainOutcome
    seconds: float
    left: int


@dataclass(frozen=True, slots=True)
class CommitEnded:
    """The commit of a revoke or a stop ended. The loop waits for these commits only."""

    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """Another worker may own the partitions by now: this one dropped all (`dropped`) and rejoins the group.

    `silent_seconds` is how long the loop stood still, or how long the coordinator was silent.
    """

    why: LeaseEnd
    silent_seconds: float
    dropped: int


@dataclass(frozen=True, slots=True)
class AssignmentDiffers:
    """For `seconds`, the Kafka client and the membership have held different partitions: this worker rejoins the group.

    `unread` are held by the client alone, `not_held` by the membership alone.
    """

    unread: int
    not_held: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DeletedUnread:
    """Records were deleted before this worker read them, from offset `first` on.

    `offsets` is how many offsets: at most as many records, since compaction and transactions leave gaps.
    """

    partition: Partition
    first: int
    offsets: int


Fact: TypeAlias = (
    CallMade
    | CallEnded
    | Delivered
    | Refused
    | UnusualSuccess
    | SharedUser
    | LetterWritten
    | LetterFailed
    | Halted
    | Resumed
    | MemoryFull
    | MemoryFreed
    | Assigned
    | Revoked
    | PartitionsLost
    | DrainEnded
    | CommitEnded
    | LeaseRanOut
    | AssignmentDiffers
    | DeletedUnread
)


class Observer(Protocol):
    """Gets every fact, on the main thread. It must not block."""

    def observe(self, fact: Fact) -> None:
        """Takes one fact; ignores those it does not need."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, fact: Fact) -> None:
        """Tells each of them, in order."""
        for observer in self._observers:
            observer.observe(fact)


class Facts:
    """The facts since the last `take`, at most `FACTS_MAX`."""

    def __init__(self) -> None:
        self._facts: deque[Fact] = deque(maxlen=FACTS_MAX)

    def tell(self, fact: Fact) -> None:
        """Adds a fact."""
        self._facts.append(fact)

    def take(self) -> list[Fact]:
        """Removes and returns all facts, oldest first."""
        taken = list(self._facts)
        self._facts.clear()
        return taken
