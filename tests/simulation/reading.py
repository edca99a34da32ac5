"""What a worker holds of the log: its partitions, where it goes on in each, and what it knows to be committed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from tests.simulation.kafka import Note
from worker.core.model import Partition, Record

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster


class Reading:
    """Stands for the subscription: of what it fetches, nothing is lost or doubled within one assignment."""

    def __init__(self, cluster: Cluster) -> None:
        self.held: set[int] = set()
        self.paused: set[Partition] = set()
        self.generation = -1
        self._cluster = cluster
        self._logs = cluster.logs
        self._next: dict[int, int] = {}  # as an index into the log
        self._epochs: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._note: Note | None = None

    def gained(self, partitions: Iterable[int], generation: int) -> None:
        """Reading begins where the group has committed."""
        self.generation = generation
        for partition in partitions:
            self.held.add(partition)
            self._next[partition] = self._logs[partition].index(self._cluster.group.committed.get(partition, 0))
            self._epochs[partition] = self._cluster.next_epoch()

    def gone(self, partitions: Iterable[int]) -> None:
        """The partitions are not this worker's any more."""
        for partition in partitions:
            self.held.discard(partition)
            self._committed.pop(partition, None)

    def epoch(self, partition: int) -> int:
        """The number of the present assignment of a partition."""
        return self._epochs[partition]

    def fetch(self) -> list[Record]:
        """The next records of what is held and not paused, up to the plan's number of a poll."""
        room = self._cluster.plan.poll_records
        records: list[Record] = []
        for partition in self.held:
            log = self._logs[partition]
            index = self._next[partition]
            if index >= len(log.records) or log.partition in self.paused:
                continue
            index = max(index, log.index(log.start))
            taken = log.records[index : index + room - len(records)]
            records += taken
            self._next[partition] = index + len(taken)
        return records

    def uncommitted(
        self, committable: Mapping[Partition, int], partitions: Collection[int], note: Note
    ) -> dict[int, int]:
        """What of these offsets the group is not known to have; all of them where the note beside them has changed."""
        renewed, self._note = note != self._note, note
        return {
            partition.number: offset
            for partition, offset in committable.items()
            if partition.number in partitions and (renewed or self._committed.get(partition.number) != offset)
        }

    def committed(self, offsets: object) -> None:
        """The coordinator has taken a commit."""
        for number, offset in cast("dict[int, int]", offsets).items():
            if number in self.held:
                self._committed[number] = offset
