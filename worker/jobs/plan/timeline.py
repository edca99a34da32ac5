"""Puts the changes of several partitions into the order of their times, with bounded memory."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator
from typing import Final

from worker.core.model import Partition
from worker.jobs.plan.lane import Arrival

BUFFERED_MAX: Final = 500_000


class Timeline:
    """Merges partitions. A change is given out when no unread partition can still bring an earlier one.

    Within a partition the order of the log counts: a record that is dated before the one in front of it arrives with
    that one. None arrives later than `now_ms`.

    Attributes:
        paused: the partitions that should not be read on: enough of them is here, and others must come first.

    Example:
        >>> timeline.add(partition, arrival)
        >>> for arrival in timeline.ready(unread): ...
    """

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._queues: dict[Partition, deque[Arrival]] = {}
        self._latest_ms: dict[Partition, int] = {}
        self._heads: list[tuple[int, Partition]] = []
        self._buffered = 0
        self.paused: frozenset[Partition] = frozenset()

    def add(self, partition: Partition, arrival: Arrival) -> None:
        """The partition's next change."""
        at_ms = min(self._now_ms, max(arrival.at_ms, self._latest_ms.get(partition, 0)))
        self._latest_ms[partition] = at_ms
        queue = self._queues.setdefault(partition, deque())
        if not queue:
            heapq.heappush(self._heads, (at_ms, partition))
        queue.append(arrival._replace(at_ms=at_ms))
        self._buffered += 1

    def ready(self, unread: Collection[Partition]) -> Iterator[Arrival]:
        """Gives out what is certain, if of these partitions more is to come."""
        while self._heads and all(self._queues.get(partition) for partition in unread):
            yield from self._before_one_runs_out(unread)
        if self._buffered > BUFFERED_MAX:
            self.paused = frozenset(partition for partition in unread if self._queues.get(partition))
        elif self._buffered < BUFFERED_MAX / 2:
            self.paused = frozenset()

    def _before_one_runs_out(self, unread: Collection[Partition]) -> Iterator[Arrival]:
        while self._heads:
            _, partition = heapq.heappop(self._heads)
            queue = self._queues[partition]
            self._buffered -= 1
            yield queue.popleft()
            if queue:
                heapq.heappush(self._heads, (queue[0].at_ms, partition))
            elif partition in unread:
                return
