"""Facts: what happened, as values, for everyone who watches the worker (logs, metrics, traces, receipts).

The engine collects its facts until the loop asks for them; the loop adds its own and hands all of them to the
observers. No fact holds an identifier or an attribute value, and none is made per record or per change.

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

from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.model import Failure, Reason

FACTS_MAX: Final = 10_000
"""Facts that wait for the loop to ask; then the oldest are forgotten. One turn makes a few hundred at most."""

# -- calls and entries: told by the core -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallMade:
    """A request starts. `attributes` counts what it carries; `probe` marks the one that a closed gate lets through."""

    attributes: int
    probe: bool


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A request ended: with a `status`, or with a `failure` in its place. `seconds` run from its start."""

    verdict: Verdict
    status: int | None
    failure: Failure | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """An entry is settled, and at least one of its attributes reached the destination.

    `age_seconds` runs from the record timestamp of its first change to this moment; `calls` were made for it.
    """

    changes: int
    calls: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination refused one attribute alone. With `stepped_back` its earlier value is tried next."""

    stepped_back: bool


@dataclass(frozen=True, slots=True)
class UnusualSuccess:
    """The first success with this status, which is not 200."""

    status: int


@dataclass(frozen=True, slots=True)
class SharedUser:
    """For the first time a user's changes came from two partitions: Kafka gives them no order. Told once."""


# -- dead letters, halts and memory: told by the core ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LetterWritten:
    """The dead-letter topic acknowledged a letter of so many attributes; `calls` were made before it was given up."""

    reason: Reason
    attributes: int
    calls: int


@dataclass(frozen=True, slots=True)
class LetterFailed:
    """The dead-letter topic did not take a letter this time; it is written again."""

    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Halted:
    """The gate closed, or a probe met another obstacle than before. `detail` is for people."""

    reason: HaltReason
    detail: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The gate opened again after `halted_seconds`."""

    reason: HaltReason
    halted_seconds: float


@dataclass(frozen=True, slots=True)
class MemoryFull:
    """The memory budget is exceeded: partitions pause, and entries go before their window ends."""

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
    """`gained` partitions came; `held` are assigned now."""

    gained: int
    held: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """`lost` partitions were given back in order; `held` remain. `seconds` include the drain and its commit."""

    lost: int
    held: int
    outcome: DrainOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PartitionsLost:
    """`lost` partitions went to another worker without a revoke; `held` remain."""

    lost: int
    held: int


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """A drain ended, at a revoke or a stop. `left` entries and dead letters of its partitions were not settled."""

    outcome: DrainOutcome
    seconds: float
    left: int


@dataclass(frozen=True, slots=True)
class CommitEnded:
    """A commit that the loop waited for, at a revoke or a stop, succeeded or not."""

    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """Another worker may own the partitions by now, so all `dropped` of them were dropped. It rejoins the group.

    `silent_seconds` is how long the loop stood still, or the coordinator said nothing.
    """

    why: LeaseEnd
    silent_seconds: float
    dropped: int


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
)


class Observer(Protocol):
    """Someone who is told of every fact, on the main thread: it must not wait for anything."""

    def observe(self, fact: Fact) -> None:
        """Takes notice of a fact, or passes over it."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, fact: Fact) -> None:
        """Tells each of them, in order."""
        for observer in self._observers:
            observer.observe(fact)


class Facts:
    """The facts since the last look."""

    def __init__(self) -> None:
        self._facts: deque[Fact] = deque(maxlen=FACTS_MAX)

    def tell(self, fact: Fact) -> None:
        """Adds a fact."""
        self._facts.append(fact)

    def take(self) -> list[Fact]:
        """Everything since the last look, oldest first."""
        taken = list(self._facts)
        self._facts.clear()
        return taken
