"""Topics that were deleted and made anew while a member read them.

The name is the same, so the member would go on at its old offset, and what the new topic holds before that would never
be read. So it leaves the group, commits where a reader of a new topic starts, and joins again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from confluent_kafka import KafkaException
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.properties import Properties

_FIRST: Final = frozenset({"earliest", "smallest", "beginning"})
_LAST: Final = frozenset({"latest", "largest", "end"})


class Renewal:
    """Where to start in topics made anew, by `auto.offset.reset`. Used by the member's thread only."""

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        self._reset = str(properties.get("auto.offset.reset", "earliest")).strip().lower()
        self._log = log
        self._topics: set[str] = set()
        self._starts: dict[Partition, int] = {}

    def add(self, topic: str) -> None:
        """This topic was made anew."""
        self._topics.add(topic)

    def begin(self, assigned: Collection[Partition], bounds: Callable[[Partition], tuple[int, int]]) -> bool:
        """Finds the starts in the assigned partitions of topics made anew. Returns whether there are any.

        Don't call it from a rebalance callback. `bounds` asks for a partition's first offset and its end, and may raise
        KafkaException.
        """
        if not self._topics:
            return False
        topics, self._topics = self._topics, set()
        found = {
            partition: start
            for partition in assigned
            if partition.topic in topics and (start := self._start(partition, bounds)) is not None
        }
        self._starts |= found
        for topic in sorted({partition.topic for partition in found}):
            self._log.warning("topic_made_anew", topic=topic, reset=self._reset)
        return bool(found)

    @property
    def forbidden(self) -> str | None:
        """Why no start may be chosen. None if it may, or if no topic was made anew."""
        if not self._topics or self._reset in _FIRST | _LAST:
            return None
        return f"topic {min(self._topics)}: made anew, and auto.offset.reset=error says not to choose an offset"

    def take_starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offsets to commit for these partitions when they are revoked. Those of others are kept for later."""
        wanted = {partition for partition in partitions if partition in self._starts}
        return {partition: self._starts.pop(partition) for partition in wanted}

    def _start(self, partition: Partition, bounds: Callable[[Partition], tuple[int, int]]) -> int | None:
        try:
            first, end = bounds(partition)
        except KafkaException:
            # Gone again, or no broker answers. Offset 0 is right for `earliest`: if it is gone, librdkafka resets it.
            return 0 if self._reset in _FIRST else None
        return first if self._reset in _FIRST else end
