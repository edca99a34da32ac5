"""What "nothing lost" means here.

The changes of one attribute of one user, in log order, are a lane. A change is accounted for, once and for all, as soon
as one of these is true:

- The destination has applied it, or a later change of its lane. A later change that is still *waiting* to be sent does
  not count: it may be refused, and then the older value must be sent.
- A letter about it is in the dead-letter topic.
- Such a letter is about a later change of its lane with the same value and type: a value refused once is refused again.
- Such a letter is about a later change of its lane and gave up the whole entry (`server_error`, `not_found`,
  `unexpected_status`, or the bound on calls): then no older value in the entry was worth a call.
- A stated rule passes it over (a tombstone, a null), or retention has deleted its record.
- The worker spares unchanged values, and every change of the lane since the newest one that the destination has applied
  has that same value. (A refused or a waiting one in between has not: then nobody can be sure of the destination.)

A user with records in two partitions ("shared") has no order across them. For these users a change is also accounted
for when a worker that had read it makes a call or a letter, and in the end the newest value of either partition is
right.

No commit may pass a change that is not accounted for. At the end, the destination must hold each lane's newest change
that it does not refuse. Which type it pins an attribute to depends on the first value that it saw. That need not be the
log's first value, since coalescing may have dropped that one; so the checks ask the destination for its pins.
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
        "given_up",
        "highest",
        "lettered",
        "name",
        "offsets",
        "partitions",
        "replayed",
        "settled",
        "shared",
        "spares",
        "stands",
        "times",
        "unique",
        "user",
        "values",
        "whole",
    )

    def __init__(self, user: int, name: str, *, shared: bool, spares: bool) -> None:
        self.user = user
        self.name = name
        self.shared = shared
        self.spares = spares
        self.partitions: list[int] = []
        self.settled: set[int] = set()  # in a shared lane: changes that were read before a call or letter was made
        self.unique = name.startswith("p")  # no two changes have the same value
        self.values: list[Scalar] = []
        self.offsets: list[int] = []
        self.times: list[float] = []  # when each was appended
        self.stands = -1  # the change whose value the destination holds
        self.highest = -1  # the newest change that it ever held
        self.replayed = -1  # the newest change that a job's call has set
        self.given_up = -1  # the newest change that a job owes nothing for: its letter gave up the whole entry, or it
        #                     was deleted before the job had read it
        self.applied = -1  # the newest change that the destination has applied
        self.epoch = -1  # the number of the assignment whose call was applied last
        self.epoch_applied = -1  # the newest change that was applied under that assignment
        self.lettered: set[int] = set()
        self.whole = -1  # the newest change whose letter gave up its whole entry
        self.deleted: set[int] = set()  # changes that retention deleted before they were accounted for
        self.excused = -1  # the newest change that retention took, unaccounted for or uncommitted

    def find(self, value: Scalar, reach: Mapping[int, int]) -> int:
        """The newest change with this value below the positions `reach`; -1 if there is none."""
        for index in range(len(self.values) - 1, -1, -1):
            if same(self.values[index], value) and self.offsets[index] < reach.get(self.partitions[index], 0):
                return index
        return -1

    def set_to(self, index: int) -> None:
        """The destination holds this change now, whoever sent it."""
        self.stands = index
        self.highest = max(self.highest, index)

    def settle(self, reach: Mapping[int, int], value: Scalar = None) -> None:
        """Accounts for a shared lane's changes below the positions `reach`; with `value`, only for equal ones."""
        for index, offset in enumerate(self.offsets):
            read = offset < reach.get(self.partitions[index], 0)
            if read and (value is None or same(value, self.values[index])):
                self.settled.add(index)

    def accounted_for(self, index: int) -> bool:
        """Whether one of the conditions in the module's docstring holds."""
        if index in self.lettered or index in self.settled or index in self.deleted:
            return True
        if not self.shared and max(self.applied, self.whole) >= index:
            return True
        return any(later > index and same(self.values[later], self.values[index]) for later in self.lettered)

    def spared(self, index: int) -> bool:
        """Whether all changes since an applied one have the same value. In a shared lane: all of its partition.

        This holds for the moment: once a later change is applied, nobody can tell any more.
        """
        for earlier in range(index - 1, -1, -1) if self.spares else ():
            unchanged = same(self.values[earlier], self.values[index])
            if self.partitions[earlier] != self.partitions[index]:
                continue
            if earlier == self.applied or earlier in self.settled:
                return unchanged
            if not unchanged and earlier not in self.deleted:
                return False
        return False


def same(one: Scalar, other: Scalar) -> bool:
    """Equal in value and in type: True, 1 and 1.0 are three values to the destination."""
    return one == other and type(one) is type(other)


@dataclass(slots=True)
class Duty:
    """What must become of one record.

    Attributes:
        sends: the record's changes, as lane and index in it; each must be accounted for.
        refused: attributes that preflight must refuse, with the reason; the name "" is the whole record.
        lettered: those of `refused` whose letter is written.
    """

    sends: list[tuple[Lane, int]] = field(default_factory=list)
    refused: dict[str, Reason] = field(default_factory=dict)
    lettered: set[str] = field(default_factory=set)

    def open_part(self) -> str | None:
        """The name of a part that is not accounted for, or None."""
        for lane, index in self.sends:
            if not (lane.accounted_for(index) or lane.spared(index)):
                return lane.name
        return next((name or "the record" for name in self.refused if name not in self.lettered), None)
