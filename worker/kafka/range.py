"""Reads a range of a log: given partitions from one offset to another. It joins no group, and commits nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition, Record
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, consumer_properties
from worker.kafka.records import PollSize, runs_of

_OFFSETS_MAX: Final = 2**63 - 1
_GONE: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})


class RangeFailed(Exception):
    """A partition cannot be read. The message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition: from `start` on, before `stop`. None: without an end, also what comes later."""

    start: int
    stop: int | None = None


class Range:
    """The records of some partitions, each between two offsets, in the order of each partition.

    A context manager. One thread owns it.

    Args:
        properties: the user's librdkafka properties, with `bootstrap.servers` and `group.id`. It is no member of that
            group.
        spans: what to read.
        log: gets rate-limited lines without any content of a record.

    Attributes:
        positions: for each partition, the offset before which every record of its span was returned.

    Example:
        >>> with Range(properties, {Partition("profile-changes", 0): Span(100, 200)}, log) as reader:
        ...     while reader.unread:
        ...         records = reader.poll(0.1)
    """

    def __init__(self, properties: Properties, spans: Mapping[Partition, Span], log: FilteringBoundLogger) -> None:
        """Does not wait for the brokers.

        Raises:
            PropertiesRefused: See `connecting`.
        """
        self._spans = dict(spans)
        self._wanted = {
            each: range(span.start, _OFFSETS_MAX if span.stop is None else span.stop) for each, span in spans.items()
        }
        self.positions = {partition: span.start for partition, span in self._spans.items()}
        self._connection = Connection("range", log)
        self._poll_size = PollSize()
        with connecting():
            self._consumer = Consumer({**consumer_properties(properties), **self._connection.callbacks()})
        self._reading = {partition for partition in self._spans if not self._at_stop(partition)}
        self._paused: set[Partition] = set()
        self._consumer.assign([TopicPartition(*each, self.positions[each]) for each in sorted(self._reading)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    @property
    def unread(self) -> set[Partition]:
        """The partitions that are not read to their `stop` yet. One without a stop is always among them."""
        return set(self._reading)

    @property
    def problem(self) -> str | None:
        """The latest connection or authentication problem in words. None if all is well again."""
        return self._connection.problem

    def poll(self, timeout_seconds: float) -> list[Record]:
        """Waits up to `timeout_seconds` for the first record. Returns it with all others that are there already.

        Raises:
            RangeFailed: A topic is gone or forbidden, or librdkafka reported a fatal error.
        """
        messages = self._consumer.consume(1, timeout_seconds)
        if messages and (more := self._poll_size.most() - 1):
            messages += self._consumer.consume(more, 0)
        records: list[Record] = []
        for run, end in runs_of(messages):
            records += run
            if end is not None:
                self._met(*end)
        if records:
            self._connection.answered()
            self._poll_size.saw(records)
            for partition, offset in {record.partition: record.offset for record in records}.items():
                self._move(partition, offset + 1)
        self._leave_read_partitions()
        wanted = self._wanted
        return [record for record in records if record.offset in wanted[record.partition]]

    def pause(self, partitions: Collection[Partition]) -> None:
        """Reads on in all partitions but these, until it is called again.

        Drops what is fetched of them, to fetch it again later. So pause seldom.
        """
        wanted = self._reading.intersection(partitions)
        held, freed = wanted - self._paused, (self._paused - wanted) & self._reading
        if held:
            self._consumer.pause([TopicPartition(*partition) for partition in held])
        if freed:
            self._consumer.resume([TopicPartition(*partition) for partition in freed])
        self._paused = wanted

    def _met(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name of the library
            # Its offset may lie behind the last record: a transaction's end is none, and compaction leaves gaps.
            self._move(Partition(message.topic() or "", message.partition() or 0), message.offset() or 0)
        elif error.fatal() or error.code() in _GONE:
            raise RangeFailed(f"{message.topic()}: {in_words(error)}")
        else:
            self._connection.failed(error)

    def _move(self, partition: Partition, offset: int) -> None:
        self.positions[partition] = max(offset, self.positions[partition])

    def _at_stop(self, partition: Partition) -> bool:
        stop = self._spans[partition].stop
        return stop is not None and self.positions[partition] >= stop

    def _leave_read_partitions(self) -> None:
        """Stops fetching what lies behind a stop."""
        read = {partition for partition in self._reading if self._at_stop(partition)}
        if read:
            self._reading -= read
            self._consumer.incremental_unassign([TopicPartition(*partition) for partition in read])
