"""A model of the worker's consumer: what it reads, pauses and commits, and which commits it knows were accepted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from tests.simulation.plan import LEASE_SECONDS
from tests.simulation.promises import PromiseBroken
from worker.core.facts import DeletedUnread
from worker.core.model import Partition, Record
from worker.live.ports import Listener

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.member import Member

_LOOP_SECONDS = 0.1  # the longest time between two turns of the real loop
_COMMIT_ATTEMPTS = 3  # of a blocking commit outside a callback


@dataclass(slots=True)
class Contact:
    """The connection to the brokers. `since`: when it broke; None while it works."""

    since: float | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection is broken."""
        return self.since is not None

    def silent_seconds(self, now: float) -> float:
        """How long the coordinator has been silent."""
        return 0.0 if self.since is None else now - self.since

    @property
    def misses_at(self) -> float:
        """When the real loop, which turns all the time, would notice that the silence has outlasted the lease."""
        return -inf if self.since is None else self.since + LEASE_SECONDS + _LOOP_SECONDS


@dataclass(slots=True)
class Told:
    """News for the next poll: `revoke`, `assign` or `lost` from the coordinator, `leave` from the client itself."""

    what: str
    partitions: list[int]
    generation: int


@dataclass(slots=True, eq=False)
class Subscription:
    """Implements the port `worker.live.ports.Group`. Within one assignment it yields each record once, in order.

    Attributes:
        told: news from the coordinator that no poll has heard yet.
        held: partitions of the present assignment, by number.
        in_callback: whether a revoke callback is running.
        leaves_later: whether it leaves the group at the end of the rebalance that is under way.
    """

    cluster: Cluster
    member: Member
    contact: Contact = field(default_factory=Contact)
    told: deque[Told] = field(default_factory=deque)
    held: set[int] = field(default_factory=set)
    in_callback: bool = False
    leaves_later: bool = False
    joined: bool = True
    problem: str | None = None
    commits_refused: int = 0
    generation: int = -1
    _paused: set[Partition] = field(default_factory=set)
    _next: dict[int, int] = field(default_factory=dict)  # the next record to read, as an index into `Log.records`
    _epochs: dict[int, int] = field(default_factory=dict)
    _committed: dict[Partition, int] = field(default_factory=dict)
    _unread_notes: set[int] = field(default_factory=set)

    def gained(self, partitions: Iterable[int], generation: int) -> None:
        """Takes an assignment: reading starts at the group's committed offsets."""
        group, logs = self.cluster.group, self.cluster.logs
        self.generation = generation
        for number in partitions:
            self.held.add(number)
            self._next[number] = logs[number].index(group.committed.get(number, 0))
            self._epochs[number] = self.cluster.next_epoch()
            self._unread_notes.add(number)

    def gone(self, partitions: Iterable[int]) -> None:
        """Drops partitions: their revoke callback has returned, or they were lost."""
        for number in partitions:
            self.held.discard(number)
            self._unread_notes.discard(number)
            self._paused.discard(self.cluster.logs[number].partition)
            self._committed.pop(self.cluster.logs[number].partition, None)

    def epoch(self, number: int) -> int:
        """The number of the present assignment of a partition."""
        return self._epochs[number]

    # -- the port ----------------------------------------------------------------------------------------------------

    @property
    def silent_seconds(self) -> float:
        """As `Group.silent_seconds`: known from librdkafka's statistics, which don't arrive inside a callback."""
        return 0.0 if self.in_callback else self.contact.silent_seconds(self.cluster.timeline.now)

    @property
    def more_waits(self) -> bool:
        """Of no use here: a member's turns come at the cluster's times."""
        return False

    def subscribe(self, listener: Listener) -> None:
        """Does nothing: `Member` calls the membership itself, since here a revoke callback takes many turns."""

    def poll(self, _: float, __: int | None = None) -> list[Record]:
        """The next records of partitions that are held and not paused, at most the plan's `poll_records`."""
        room = self.cluster.plan.poll_records
        records: list[Record] = []
        for number in self.held:
            log = self.cluster.logs[number]
            index = self._next[number]
            if index >= len(log.records) or log.partition in self._paused:
                continue
            index = max(index, log.index(log.start))
            taken = log.records[index : index + room - len(records)]
            records += taken
            self._next[number] = index + len(taken)
        return records

    def passed(self) -> Mapping[Partition, int]:
        """None: the model's logs hold only records."""
        return {}

    def deleted_unread(self) -> Sequence[DeletedUnread]:
        """None: no promise rests on it."""
        return ()

    def commit(self, offsets: Mapping[Partition, int], *, note: str = "", wait: bool = False) -> None:
        """As `Group.commit`. A blocking commit is tried _COMMIT_ATTEMPTS times, in a callback once."""
        plain = {partition.number: offset for partition, offset in offsets.items()}
        if unread := self._unread_notes.intersection(plain):
            raise PromiseBroken(
                "storm", f"{self.member} writes over the note of {sorted(unread)}, which it has not read"
            )
        self.cluster.oracle.committing(plain)
        self.cluster.add_to_trace(self.member, "commits" if wait else "commit", plain)
        commits = self.cluster.commits
        if self.contact.lost:
            taken = False
        elif wait:
            attempts = 1 if self.in_callback else _COMMIT_ATTEMPTS
            taken = any(commits.now(self.member, self.generation, plain, note) for _ in range(attempts))
        else:
            commits.later(self.member, self.generation, plain, note, self._acknowledged)
            return
        if taken:
            self._acknowledged(plain)
        else:
            self.commits_refused += 1
            self.cluster.oracle.excuse_duplicates()

    def committed(self) -> Mapping[Partition, int]:
        """The offsets that the coordinator is known to have accepted."""
        return self._committed

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """As `Group.notes`; None while the coordinator does not answer.

        Until it does, the worker commits nothing, so a later owner may send again: the oracle allows duplicates.
        """
        if self.contact.lost or self.cluster.commits.unheard():
            self.cluster.oracle.excuse_duplicates()
            return None
        numbers = [partition.number for partition in partitions]
        self._unread_notes.difference_update(numbers)
        notes, committed = self.cluster.group.notes, self.cluster.group.committed
        self._acknowledged({number: committed[number] for number in numbers if number in committed})
        return [notes[number] for number in numbers if number in notes]

    def pause(self, partitions: Iterable[Partition]) -> None:
        """As `Group.pause`."""
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """As `Group.resume`."""
        self._paused.difference_update(partitions)

    def end_offsets(self) -> Mapping[Partition, int]:
        """Empty: no check reads the lag."""
        return {}

    def assignment(self) -> set[Partition]:
        """As `Group.assignment`."""
        return {self.cluster.logs[number].partition for number in self.held}

    def rejoin(self) -> None:
        """As `Group.rejoin`. Amid a rebalance, the client postpones the leave to its end, and keeps its partitions.

        Then it may even forget to leave, as librdkafka does if it is asked to subscribe too early.
        """
        if self.contact.lost or not self.cluster.group.rebalances(self.member):
            self.leave()
        elif self.generation % 2:
            self.leaves_later = True

    def leave(self) -> None:
        """Leaves at the next poll. News still unheard belongs to the old membership, and is dropped with it."""
        self.leaves_later = False
        self.told.clear()
        self.told.append(Told("leave", sorted(self.held), self.generation))
        self.member.wake()

    def close(self) -> None:
        """As `Group.close`: the worker leaves, and its process ends."""
        self.gone(sorted(self.held))
        self.member.left()

    def _acknowledged(self, offsets: Mapping[int, int]) -> None:
        for number, offset in offsets.items():
            if number in self.held:
                self._committed[self.cluster.logs[number].partition] = offset
