"""A model of Kafka: the partition logs, the coordinator of the one consumer group, and the commits to it."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from tests.simulation.timeline import Timeline
from worker.core.model import Partition, Record

Note: TypeAlias = str
"""The metadata that a worker commits with an offset."""

JOIN_SECONDS = 0.4  # from a change in the group to the rebalance, at least
SYNC_SECONDS = 0.1  # from the last revoke to the new assignment; an expelled member has heard `lost` by then


class Log:
    """One partition's log. Offsets may have gaps; retention has deleted the records below `start`."""

    __slots__ = ("end", "offsets", "partition", "records", "start")

    def __init__(self, number: int) -> None:
        self.partition = Partition("changes", number)
        self.records: list[Record] = []
        self.offsets: list[int] = []
        self.start = 0
        self.end = 0

    def append(self, value: bytes | None, gap: int, timestamp_ms: int) -> Record:
        """Appends a record; `gap` offsets before it stay unused, as transaction markers leave them."""
        record = Record(self.partition, self.end + gap, timestamp_ms, b"key", value)
        self.records.append(record)
        self.offsets.append(record.offset)
        self.end = record.offset + 1
        return record

    def index(self, offset: int) -> int:
        """The index in `records` of the first record at or after `offset` that retention has left."""
        return bisect_left(self.offsets, max(offset, self.start))


class Participant(Protocol):
    """What the coordinator needs of a member. It only queues the news; the member's next poll finds it."""

    def tell(self, what: str, partitions: list[int], generation: int) -> None:
        """Queues news for the member's next poll; `what` is `revoke`, `assign` or `lost`."""


class Group:
    """The coordinator: owners and committed offsets of the partitions, and the rebalances that move partitions.

    Eager: each member gives up all its partitions. Cooperative: only those that move. In both, the next owner gets a
    partition only after the former owner's revoke callback has returned, or after the group has expelled that owner.
    """

    def __init__(self, timeline: Timeline, partitions: int, rng: random.Random, *, eager: bool) -> None:
        self.owners: dict[int, Participant | None] = dict.fromkeys(range(partitions))
        self.committed: dict[int, int] = {}
        self.notes: dict[int, Note] = {}
        self.generation = 0
        self._timeline = timeline
        self._rng = rng
        self._eager = eager
        self._members: list[Participant] = []
        self._target: dict[int, Participant] = {}
        self._leaving: list[Participant] | None = None  # members still to finish their revoke; None between rebalances
        self._again = False  # the group changed during this rebalance: another must follow
        self._planned = False

    def __contains__(self, member: Participant) -> bool:
        return member in self._members

    @property
    def is_empty(self) -> bool:
        """Whether it has no members."""
        return not self._members

    def join(self, member: Participant) -> None:
        """Adds a member; its first partitions come with the next rebalance."""
        if member not in self._members:
            self._members.append(member)
        self.rebalance_soon()

    def remove(self, member: Participant) -> None:
        """Removes a member that left or whose session timed out; its partitions have no owner until a rebalance."""
        if member not in self._members:
            return
        self._members.remove(member)
        for partition, owner in self.owners.items():
            if owner is member:
                self.owners[partition] = None
        self._again = True
        self._given_up(member)
        self.rebalance_soon()

    def rebalances(self, member: Participant) -> bool:
        """Whether a rebalance is planned or under way, of which this member will hear the end."""
        return member in self._members and (self._planned or self._leaving is not None)

    def rebalance_soon(self) -> None:
        """Plans a rebalance. It comes after a delay, since real members learn of one by their heartbeats."""
        if not self._planned:
            self._planned = True
            self._timeline.after(JOIN_SECONDS + self._rng.random(), self._rebalance)

    def revoked(self, member: Participant, partitions: Iterable[int]) -> None:
        """A member's revoke callback has returned."""
        for partition in partitions:
            if self.owners[partition] is member:
                self.owners[partition] = None
        self._given_up(member)

    def commit(self, member: Participant, generation: int, offsets: Mapping[int, int], note: Note) -> bool:
        """Whether the coordinator accepts the commit. Like the real one it checks the generation, not the owner."""
        if member not in self._members or generation != self.generation:
            return False
        self.committed.update(offsets)
        self.notes.update(dict.fromkeys(offsets, note))
        return True

    def _rebalance(self, _: object) -> None:
        self._planned = False
        if self._leaving is not None:
            self._again = True
            return
        self._again = False
        self._assign()
        told: list[tuple[Participant, list[int]]] = []
        for member in self._members:
            stays = set() if self._eager else {p for p, owner in self._target.items() if owner is member}
            going = sorted(p for p, owner in self.owners.items() if owner is member and p not in stays)
            if going:
                told.append((member, going))
        self._leaving = [member for member, _ in told]
        for member, going in told:
            member.tell("revoke", going, self.generation)
        if not told:
            self._timeline.after(SYNC_SECONDS, self._complete)

    def _assign(self) -> None:
        """Deals the partitions out evenly at random, so they move far more often than a real assignor moves them."""
        self._target = {}
        if not self._members:
            return
        members = self._rng.sample(self._members, len(self._members))
        for place, partition in enumerate(self._rng.sample(sorted(self.owners), len(self.owners))):
            self._target[partition] = members[place % len(members)]

    def _given_up(self, member: Participant) -> None:
        if self._leaving is None or member not in self._leaving:
            return
        self._leaving.remove(member)
        if not self._leaving:
            self._timeline.after(SYNC_SECONDS, self._complete)

    def _complete(self, _: object) -> None:
        self._leaving = None
        self.generation += 1
        for member in self._members:
            gained = [p for p, owner in self._target.items() if owner is member and self.owners[p] is None]
            for partition in gained:
                self.owners[partition] = member
            member.tell("assign", gained, self.generation)
        if self._again:
            self.rebalance_soon()


class Commits:
    """Carries commits from the members to the coordinator, and the answers back.

    One member's commits share a connection and arrive in the order sent. The exception is a slow commit: it stands for
    one that the client sends again after an error, and may arrive after a later one.
    """

    def __init__(self, timeline: Timeline, group: Group, rng: random.Random) -> None:
        self.failing = False
        self.slow = False
        self._timeline = timeline
        self._group = group
        self._rng = rng
        self._under_way: dict[Participant, deque[Callable[[], None]]] = {}

    def unheard(self) -> bool:
        """Whether a query to the coordinator times out."""
        return self.failing and self._rng.random() < 0.5

    def now(self, member: Participant, generation: int, offsets: Mapping[int, int], note: Note) -> bool:
        """A blocking commit: first the background commits under way arrive, then this one. False: it failed."""
        under_way = self._under_way.get(member)
        while under_way:
            under_way.popleft()()
        if self.failing and self._rng.random() < 0.8:
            return False
        return self._group.commit(member, generation, offsets, note)

    def later(
        self,
        member: Participant,
        generation: int,
        offsets: Mapping[int, int],
        note: Note,
        answered: Callable[[Mapping[int, int]], None],
    ) -> None:
        """A background commit. The commit or its answer may be lost, and under `slow` it arrives seconds later."""
        if self.failing and self._rng.random() < 0.5:
            return

        def arrive() -> None:
            taken = self._group.commit(member, generation, offsets, note)
            if taken and not (self.failing and self._rng.random() < 0.5):
                self._timeline.after(0.01, answered, offsets)

        if self.slow:
            self._timeline.after(self._rng.uniform(1.0, 9.0), lambda _: arrive())
            return
        under_way = self._under_way.setdefault(member, deque())
        under_way.append(arrive)
        self._timeline.after(0.01, lambda _: under_way.popleft()() if under_way and under_way[0] is arrive else None)
