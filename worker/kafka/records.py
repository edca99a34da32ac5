"""Consumed messages as the core's records, and how many to take at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import methodcaller
from typing import Final, cast

from confluent_kafka import Message, TopicPartition

from worker.core.letters.letter import used_headers
from worker.core.model import Headers, Partition, Record

# Not `message.headers()`: after some calls, Python skips the check that turns the library's fault into a SystemError.
# The list with a null pointer would come back, and to touch that kills the process.
_read_headers: Final = methodcaller("headers")

_RECORDS_MAX: Final = 500
_RECORDS_FIRST: Final = 10  # they show how large the records are
_POLL_BYTES: Final = 2 * 1024 * 1024

_partition: Final = lru_cache(maxsize=4_096)(Partition)  # one object for all records of a partition


class PollSize:
    """How many records one poll takes: about 2 MiB of them, because the memory budget is checked between two polls."""

    def __init__(self) -> None:
        self._records = _RECORDS_FIRST

    def more(self, records_max: int | None = None) -> int:
        """How many to take besides the first one."""
        return (self._records if records_max is None else min(self._records, records_max)) - 1

    def saw(self, records: Sequence[Record]) -> None:
        """These came with the latest poll, one at least. The next will be about as large."""
        size_bytes = sum(record.size_bytes for record in records) / len(records)
        self._records = max(1, min(_RECORDS_MAX, int(_POLL_BYTES / (size_bytes + 1))))


def record_of(message: Message) -> Record:
    """Converts a message that is not an error. Of its headers, those that the worker uses are kept.

    Raises:
        RuntimeError: It has no topic, partition or offset. A consumed message always has them.
    """
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise RuntimeError("a record came without topic, partition or offset: report this as a bug")
    place, timestamp_ms = _partition(topic, partition), message.timestamp()[1]
    return Record(place, offset, timestamp_ms, message.key(), message.value(), _used_headers(message))


def partitions_of(partitions: Iterable[TopicPartition]) -> list[Partition]:
    """The library's partitions as the core's."""
    return [Partition(each.topic, each.partition) for each in partitions]


def _used_headers(message: Message) -> Headers:
    """The headers that the worker uses. None if they cannot be read: a record is good without them.

    A header's name may be any bytes, because producers in C, Go or Rust do not check it. If one is not UTF-8, the
    library raises a SystemError. Never ask the message again: then it returns a pair with a null pointer.
    """
    try:
        headers = _read_headers(message)
    except (SystemError, ValueError):
        return ()
    # Consumed headers are a list of (name, bytes) pairs. The stub also allows what a producer accepts.
    return used_headers(tuple(cast("list[tuple[str, bytes | None]]", headers))) if headers else ()
