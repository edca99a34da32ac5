"""The logs that letters came from: where they begin and end today, and from where to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from worker.core.model import Partition, Source

At = Callable[[Iterable[Partition], int], Mapping[Partition, int | None]]
"""The offset of each partition's first record at or after a time. None: it has no such record."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The offsets that a partition has now: from `start` on, before `end`."""

    start: int
    end: int


class Sources:
    """Tells whether the log still reaches back to a letter's records.

    Args:
        subscribed: the topics that the worker reads.
        counts: how many partitions each topic of the cluster has.
        reach: asks where partitions begin and end. May raise TopicsUnavailable.
        at: asks for offsets by time.

    Attributes:
        partitions: what to read: all partitions of the subscribed topics, and of those that letters came from.
        subscribed: the partitions of the subscribed topics alone.
    """

    def __init__(
        self,
        subscribed: Iterable[str],
        counts: Mapping[str, int],
        reach: Callable[[Iterable[Partition]], Mapping[Partition, Reach]],
        at: At,
    ) -> None:
        self._counts = counts
        self._ask = reach
        self._at = at
        self.partitions: dict[Partition, Reach] = {}
        for topic in subscribed:
            self._look_at(topic)
        self.subscribed = frozenset(self.partitions)

    def fault(self, sources: Iterable[Source]) -> str | None:
        """Why nobody can tell whether these records have later changes. None if the log tells."""
        return next((why for source in sources if (why := self._fault(source)) is not None), None)

    def place(self, source: Source) -> Source:
        """The record's place in the order of changes.

        If its log is gone, that is a log of its own: any record that was written later is a later change.
        """
        self._look_at(source.partition.topic)
        reach = self.partitions.get(source.partition)
        if reach is not None and 0 <= source.offset < reach.end:
            return source
        former = Partition(f"{source.partition.topic} (former)", source.partition.number)
        return replace(source, partition=former)

    def starts(self, begins: Mapping[Partition, int], since_ms: int) -> dict[Partition, int]:
        """Where to begin to read each partition: at the letters' records, elsewhere at the time of the first of them.

        Users may have moved from one partition to another.
        """
        at = self._at(self.partitions, max(0, since_ms))
        found = {}
        for each, reach in self.partitions.items():
            by_time = at.get(each)
            start = reach.end if by_time is None else by_time
            found[each] = max(reach.start, min(start, begins.get(each, start)))
        return found

    def _look_at(self, topic: str) -> None:
        numbers = range(self._counts.get(topic, 0))
        if numbers and Partition(topic, 0) not in self.partitions:
            self.partitions.update(self._ask([Partition(topic, number) for number in numbers]))

    def _fault(self, source: Source) -> str | None:
        topic, number = source.partition
        self._look_at(topic)
        reach = self.partitions.get(source.partition)
        if topic not in self._counts:
            return f"topic {topic} does not exist, or may not be seen"
        if reach is None:
            return f"topic {topic} has no partition {number}"
        if source.offset >= reach.end:
            return f"{topic}/{number} ends before their records: the topic was made anew"
        if source.offset < reach.start:
            return (
                f"{topic}/{number} begins at offset {reach.start}: their records are deleted, perhaps later ones, too"
            )
        return None
