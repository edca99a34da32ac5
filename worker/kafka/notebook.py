"""What a job writes down in Kafka: a note for each partition, as metadata of an offset in a group of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.closing import close_within
from worker.kafka.committed import committed
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, consumer_properties, without_membership

NOTE_BYTES_MAX: Final = 4_096
"""What brokers take by default (`offset.metadata.max.bytes`)."""
CLOSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Note:
    """An offset, and a text of at most `NOTE_BYTES_MAX` bytes beside it."""

    offset: int
    text: str = field(repr=False)


class Notebook:
    """The notes of a job. It joins no group: it commits as a reader that manages its offsets by itself.

    Example:
        >>> notebook = Notebook(properties, "attribute-worker.replay.friday", log)
        >>> notebook.read(partitions)  # waits
        >>> notebook.write({partition: Note(100, "...")})  # does not wait
        >>> notebook.written  # how many writes the brokers have acknowledged
    """

    def __init__(self, properties: Properties, group: str, log: FilteringBoundLogger) -> None:
        """`group` is the job's own."""
        self._connection = Connection("notebook", log)
        self._sent = 0
        self._answered = 0
        self.written = 0
        self.problem: str | None = None
        with connecting():
            self._consumer = Consumer(
                {
                    **consumer_properties({**without_membership(properties), "group.id": group}),
                    **self._connection.callbacks(),
                    "on_commit": self._on_commit,
                }
            )

    def read(self, partitions: Iterable[Partition], timeout_seconds: float = 10.0) -> Mapping[Partition, Note]:
        """The notes of these partitions; those without any are left out.

        Raises:
            GroupUnavailable: No answer in time, or the group is forbidden.
        """
        found = committed(self._consumer, self._connection, partitions, timeout_seconds)
        return {each: Note(of.offset, of.note) for each, of in found.items() if of.offset is not None}

    def write(self, notes: Mapping[Partition, Note]) -> None:
        """Writes these notes. `written` tells when they are there. Call it only while nothing is `under_way`."""
        self._sent += 1
        offsets = [TopicPartition(*each, note.offset, note.text) for each, note in notes.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as failure:
            self._on_commit(failure.args[0], [])

    @property
    def under_way(self) -> bool:
        """Whether a write is not answered yet. Looks for answers, and does not wait."""
        self._consumer.poll(0)
        return self._answered < self._sent

    def close(self) -> None:
        """Ends the connection, within `CLOSE_SECONDS`."""
        close_within(self._consumer, CLOSE_SECONDS)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._answered += 1
        refusal = error or next((each.error for each in partitions if each.error is not None), None)
        self.problem = None if refusal is None else f"progress cannot be written: {in_words(refusal)}"
        if refusal is None:
            self.written = self._sent
