"""What "nothing lost" means here.

The changes of one user and attribute form a lane, in log order. A change is accounted
for when one of these holds, and it stays so for ever:

- it, or a later one of its lane, was applied by the destination (a value that merely *waits* to supersede it is not
  enough: it may yet be refused, and then the older one has to stand);
- a letter about it lies in the dead-letter topic;
- a later one of its lane with the same value and type is such a letter: what was refused once is refused again;
- a later one of its lane is a letter that took the rest of its entry with it (`server_error`, `not_found`,
  `unexpected_status`, or the bound on calls): then nothing older in the entry was worth trying;
- a stated rule passes it over (a tombstone, a null), or retention deleted its record meanwhile.

A user whose records lie in two partitions has no order across them. There, a change is also accounted for by a call or
a letter of a worker that had read it by then, and in the end either partition's newest value is right.

No commit may pass a change that is not accounted for. In the end a lane holds the newest change that the destination
does not refuse. Which type an attribute is pinned to is the destination's to say: the first value it ever saw counts,
and coalescing may have spared it the log's first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.core.model import Reason, Scalar


class Lane:
    """The changes of one attribute of one user, in log order."""

    __slots__ = (
        "applied",
        "deleted",
        "epoch",
        "epoch_applied",
        "excused",
        "lettered",
        "name",
        "offsets",
        "partitions",
        "settled",
        "shared",
        "unique",
        "user",
        "values",
        "whole",
    )

    def __init__(self, user: int, name: str, *, shared: bool) -> None:
        self.user = user
        self.name = name
        self.shared = shared
        self.partitions: list[int] = []
        self.settled: set[int] = set()  # of a shared lane: what was read when a call or a letter took care of all
        self.unique = name.startswith("p")  # else an equal value may come from another change
        self.values: list[Scalar] = []
        self.offsets: list[int] = []
        self.applied = -1  # the newest change that the destination has applied
        self.epoch = -1  # the assignment that applied last, and the newest change that it applied
        self.epoch_applied = -1
        self.lettered: set[int] = set()
        self.whole = -1  # the newest change whose letter took the rest of its entry with it
        self.deleted: set[int] = set()  # by retention, before they were accounted for
        self.excused = -1  # the newest change that retention deleted before it was accounted for

    def find(self, value: Scalar, reach: Mapping[int, int]) -> int:
        """The newest change with this value that a reader at `reach` has seen; -1 where there is none."""
        for index in range(len(self.values) - 1, -1, -1):
            if same(self.values[index], value) and self.offsets[index] < reach.get(self.partitions[index], 0):
                return index
        return -1

    def settle(self, reach: Mapping[int, int], value: Scalar = None) -> None:
        """A shared lane's changes that were read by now are taken care of; with `value`, those that have it."""
        for index, offset in enumerate(self.offsets):
            read = offset < reach.get(self.partitions[index], 0)
            if read and (value is None or same(value, self.values[index])):
                self.settled.add(index)

    def accounted_for(self, index: int) -> bool:
        """See the module's docstring."""
        if index in self.lettered or index in self.settled or index in self.deleted:
            return True
        if not self.shared and max(self.applied, self.whole) >= index:
            return True
        return any(later > index and same(self.values[later], self.values[index]) for later in self.lettered)


def same(one: Scalar, other: Scalar) -> bool:
    """Equal in value and in type: True, 1 and 1.0 are three values to the destination."""
    return one == other and type(one) is type(other)


@dataclass(slots=True)
class Duty:
    """What becomes of a record: which changes it holds, and which letters it must bring by preflight alone."""

    sends: list[tuple[Lane, int]] = field(default_factory=list)
    refused: dict[str, Reason] = field(default_factory=dict)
    lettered: set[str] = field(default_factory=set)

    def open_part(self) -> str | None:
        """A part that is not accounted for, or None."""
        for lane, index in self.sends:
            if not lane.accounted_for(index):
                return lane.name
        return next((name or "the record" for name in self.refused if name not in self.lettered), None)
