"""A model of Kafka: partitions as logs, one consumer group with its coordinator, and a dead-letter topic."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from tests.simulation.timeline import Timeline
from worker.core.model import Partition, Record

Note: TypeAlias = str
"""What a worker commits beside an offset."""

JOIN_SECONDS = 0.4  # from a change of the group to the first member's hearing of it, at least
SYNC_SECONDS = 0.1  # from the last revoke to the first assignment: whoever was thrown out knows it by then


class Log:
    """One partition. Offsets may have gaps; what lies below `start` was deleted by retention."""

    __slots__ = ("end", "offsets", "partition", "records", "start")

    def __init__(self, number: int) -> None:
        self.partition = Partition("changes", number)
        self.records: list[Record] = []
        self.offsets: list[int] = []
        self.start = 0
        self.end = 0

    def append(self, value: bytes | None, gap: int, timestamp_ms: int) -> Record:
        """The next record, `gap` offsets further on than it need be."""
        record = Record(self.partition, self.end + gap, timestamp_ms, b"key", value)
        self.records.append(record)
        self.offsets.append(record.offset)
        self.end = record.offset + 1
        return record

    def index(self, offset: int) -> int:
        """Where a reader that stands at `offset` goes on."""
        return bisect_left(self.offsets, max(offset, self.start))


class Participant(Protocol):
    """What the coordinator needs of a member; each is told by what its next poll finds."""

    def tell(self, what: str, partitions: list[int], generation: int) -> None:
        """`revoke`, `assign` or `lost`."""


class Group:
    """The coordinator: who owns what, which offsets are committed, and the rebalances that move partitions.

    Eager: everybody gives up everything. Cooperative: only what moves is given up. Either way a partition is given to
    its next owner after the former one's revoke callback has returned, or after it was thrown out of the group.
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
        self._leaving: list[Participant] | None = None  # who must still give up something; None between rebalances
        self._again = False
        self._planned = False

    def __contains__(self, member: Participant) -> bool:
        return member in self._members

    def join(self, member: Participant) -> None:
        """A member asks to be let in."""
        if member not in self._members:
            self._members.append(member)
        self.rebalance_soon()

    def remove(self, member: Participant) -> None:
        """A member left, or was not heard of for the session time-out: what it held is nobody's now."""
        if member not in self._members:
            return
        self._members.remove(member)
        for partition, owner in self.owners.items():
            if owner is member:
                self.owners[partition] = None
        self._again = True
        self._given_up(member)
        self.rebalance_soon()

    def rebalance_soon(self) -> None:
        """The members hear of it by their heartbeats, not at once."""
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
        """Whether the broker takes it: like the real one it asks for the generation, not for who owns what."""
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
        """Balanced, and by chance: partitions move far more often than a real assignor moves them."""
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
    """The way of a commit from a member to the coordinator and back.

    The commits of one member go over one connection and are taken in the order they were sent in. Only a slow one,
    which the client sends again after an error, may come behind a later one.
    """

    def __init__(self, timeline: Timeline, group: Group, rng: random.Random) -> None:
        self.failing = False
        self.slow = False
        self._timeline = timeline
        self._group = group
        self._rng = rng
        self._under_way: dict[Participant, deque[Callable[[], None]]] = {}

    def unheard(self) -> bool:
        """Whether a question to the coordinator has no answer in time."""
        return self.failing and self._rng.random() < 0.5

    def now(self, member: Participant, generation: int, offsets: Mapping[int, int], note: Note) -> bool:
        """A commit that is waited for, behind those that are under way."""
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
        """A commit in the background. It may be lost on its way, or its answer may be, or it comes long after."""
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
