"""What a member has to do with the rest of the cluster: what it was told, what it owes, and whether it is cut off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from tests.simulation.plan import LEASE_SECONDS
from worker.core.model import Letter

_LOOP_SECONDS = 0.1  # the longest time between two turns of the real loop


@dataclass(slots=True)
class Contact:
    """The way to the brokers. `since`: when it was cut; None while it is there."""

    since: float | None = None

    @property
    def lost(self) -> bool:
        """Whether the way is cut."""
        return self.since is not None

    def silent_seconds(self, now: float) -> float:
        """How long the coordinator was not heard."""
        return 0.0 if self.since is None else now - self.since

    @property
    def misses_at(self) -> float:
        """When a loop that turns all the time notices that it was not heard for too long."""
        return -inf if self.since is None else self.since + LEASE_SECONDS + _LOOP_SECONDS


@dataclass(slots=True)
class Drain:
    """A revoke callback that has not returned, or a stop. None for `partitions`: all that are held."""

    partitions: list[int] | None
    deadline: float
    finished: Callable[[], None]


@dataclass(slots=True)
class Told:
    """What the next poll hears from the coordinator."""

    what: str
    partitions: list[int]
    generation: int


@dataclass(slots=True)
class Queues:
    """What other threads have for the main one."""

    coordinator: deque[Told] = field(default_factory=deque)
    letters: list[tuple[Letter, str | None]] = field(default_factory=list)
    schemas: list[int] = field(default_factory=list)
