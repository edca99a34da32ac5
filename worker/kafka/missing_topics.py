"""Topics that are missing or forbidden, until they are found."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition, Record
from worker.kafka.connection import in_words
from worker.kafka.patterns import is_pattern
from worker.logs import LogLimiter

_RECHECK_SECONDS: Final = 10.0


class MissingTopics:
    """What is wrong with each topic. librdkafka reports when a topic goes missing, but not when it is back."""

    def __init__(self, topics: Sequence[str], assigned: Collection[Partition], log: FilteringBoundLogger) -> None:
        """`assigned` is the member's live set of partitions."""
        self._assigned = assigned
        self._topics = [topic for topic in topics if not is_pattern(topic)]
        self._log = log
        self._limit = LogLimiter()
        self._problems: dict[str, str] = {}
        # May be described while assigned, but a fetch was refused: only a fetch can tell when that is over.
        self._unreadable: set[str] = set()
        self._checked_at = time.monotonic()

    @property
    def problem(self) -> str | None:
        """What is wrong with one of them, in words. None if all is well."""
        return next(iter(self._problems.values()), None)

    def add(self, topic: str, error: KafkaError) -> None:
        """Librdkafka says that this topic is missing or forbidden."""
        if not topic:  # under KIP-848, the group's coordinator refuses the member and names no topic
            self.suspect(error)
            return
        if is_pattern(topic):
            # It matches nothing yet, which `PartitionTotal` tells in both protocols. Never ask for its metadata:
            # librdkafka would take it for a topic, and write it unescaped into its statistics.
            return
        self._problems[topic] = f"topic {topic}: {in_words(error)}"
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and any(one.topic == topic for one in self._assigned):
            self._unreadable.add(topic)
        self._checked_at = time.monotonic()
        if self._limit.allows((topic, error.code()), time.monotonic()):
            self._log.warning("topic_unavailable", topic=topic, error=in_words(error))

    def suspect(self, error: KafkaError) -> None:
        """Some topic is gone or forbidden. At most the error's text names it, so the next `recheck` asks about each."""
        self._checked_at = float("-inf")
        for topic in self._topics:
            self._problems.setdefault(topic, f"topic {topic}: {in_words(error)}")

    def found(self, topics: Iterable[str]) -> None:
        """Partitions of these topics were assigned, or read."""
        for topic in topics:
            self._problems.pop(topic, None)
            self._unreadable.discard(topic)

    def saw(self, records: Iterable[Record]) -> None:
        """These records were read."""
        if self._unreadable:
            self.found({record.partition.topic for record in records})

    def recheck(self, consumer: Consumer) -> None:
        """Asks about the topics with a problem, when it is time. Waits for a second at most for each."""
        now = time.monotonic()
        if not self._problems or now - self._checked_at < _RECHECK_SECONDS:
            return
        self._checked_at = now
        unreadable = self._unreadable.intersection(one.topic for one in self._assigned)
        for topic in self._problems.keys() - unreadable:
            try:
                found = consumer.list_topics(topic, timeout=1.0).topics[topic]
            except KafkaException:
                return  # no broker answers: error_cb reports that as a `problem`
            if found.error is None:
                del self._problems[topic]
