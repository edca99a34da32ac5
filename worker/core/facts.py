"""What people and metrics should hear of, collected until the shell asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from worker.core.delivery.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should hear of once: `event` names it, `fields` hold no identifier and no value."""

    event: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A settled entry of which something reached the destination.

    `age_seconds` runs from its first change's record timestamp to the settlement.
    """

    changes: int
    age_seconds: float


@dataclass(slots=True)
class News:
    """Notices and deliveries since the last look."""

    notices: list[Notice] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def tell(self, event: str, **fields: object) -> None:
        """Adds a notice."""
        self.notices.append(Notice(event, fields))

    def take(self) -> tuple[list[Notice], list[Delivery]]:
        """Everything since the last look."""
        taken = (self.notices, self.deliveries)
        self.notices, self.deliveries = [], []
        return taken


class DrainOutcome(StrEnum):
    """How a drain ended."""

    DONE = "done"  # everything was settled
    CUT = "cut"  # the deadline came, or waiting on would have settled nothing
    GONE = "gone"  # partitions became another member's before they were settled


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A reply, or what stands for one, was taken in."""

    verdict: Verdict
    seconds: float


@dataclass(frozen=True, slots=True)
class LetterFailed:
    """The dead-letter topic did not take a letter; it is written again."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Partitions came."""

    gained: int
    held: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """Partitions were drained as far as it went, and given up."""

    lost: int
    held: int
    outcome: DrainOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PartitionsLost:
    """Partitions are another member's already: what was open of them was dropped."""

    lost: int
    held: int


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """A drain, of a revoke or of a stop, has an outcome."""

    seconds: float
    outcome: DrainOutcome
    left: int


@dataclass(frozen=True, slots=True)
class CommitEnded:
    """A commit that was waited for, at a revoke or a stop."""

    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """The loop was silent, or did not hear the group, for too long: everything that was held was dropped."""

    why: str
    silent_seconds: float
    dropped: int


Fact: TypeAlias = (
    CallEnded | LetterFailed | Assigned | Revoked | PartitionsLost | DrainEnded | CommitEnded | LeaseRanOut
)
