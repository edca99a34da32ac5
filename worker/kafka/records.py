"""Consumed messages as the core's records, and how many to take at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter, methodcaller
from typing import Final, cast

from confluent_kafka import KafkaError, Message, TopicPartition

from worker.core.letters.letter import used_headers
from worker.core.model import Headers, Partition, Record

# Not `message.headers()`: after some calls, Python skips the check that turns the library's fault into a SystemError.
# The list with a null pointer would come back, and to touch that kills the process.
_read_headers: Final = methodcaller("headers")

_RECORDS_MAX: Final = 500
_RECORDS_FIRST: Final = 10  # they show how large the records are
_POLL_BYTES: Final = 2 * 1024 * 1024

_milliseconds: Final = itemgetter(1)  # of a timestamp: the first is its type
_partition: Final = lru_cache(maxsize=4_096)(Partition)  # one object for all records of a partition


class PollSize:
    """How many records one poll takes: about 2 MiB of them, because the memory budget is checked between two polls."""

    def __init__(self) -> None:
        self._records = _RECORDS_FIRST

    def most(self, records_max: int | None = None) -> int:
        """How many to take, at least one."""
        return self._records if records_max is None else min(self._records, records_max)

    def saw(self, records: Sequence[Record]) -> None:
        """These came with the latest poll, one at least. The next will be about as large."""
        size_bytes = sum(record.size_bytes for record in records) / len(records)
        self._records = max(1, min(_RECORDS_MAX, int(_POLL_BYTES / (size_bytes + 1))))


def runs_of(messages: Sequence[Message]) -> Iterator[tuple[list[Record], tuple[Message, KafkaError] | None]]:
    """The records up to each message that is none but an error, with that; in the end, those behind the last one."""
    start = 0
    for place, error in enumerate(map(Message.error, messages)):
        if error is not None:
            yield _records_of(messages[start:place]), (messages[place], error)
            start = place + 1
    yield _records_of(messages[start:]), None


def _records_of(messages: Sequence[Message]) -> list[Record]:
    """Converts messages that are no errors. Of their headers, those that the worker uses are kept.

    One field of all messages after the other: `map` asks a message in a third of the time that a call in Python takes.
    """
    # The stub allows None for what a consumed message always has.
    topics = cast("Iterable[str]", map(Message.topic, messages))
    numbers = cast("Iterable[int]", map(Message.partition, messages))
    offsets = cast("Iterable[int]", map(Message.offset, messages))
    times = map(_milliseconds, map(Message.timestamp, messages))
    keys, values = map(Message.key, messages), map(Message.value, messages)
    places = map(_partition, topics, numbers)
    return list(map(Record, places, offsets, times, keys, values, _headers_of(messages)))


def partitions_of(partitions: Iterable[TopicPartition]) -> list[Partition]:
    """The library's partitions as the core's."""
    return [Partition(each.topic, each.partition) for each in partitions]


def _headers_of(messages: Sequence[Message]) -> Iterable[Headers]:
    """Of each message the headers that the worker uses. None if they cannot be read: a record is good without them.

    A header's name may be any bytes, because producers in C, Go or Rust do not check it. If one is not UTF-8, the
    library raises a SystemError. Never ask the message again: then it returns a pair with a null pointer.
    """
    found: list[Headers] = []
    for message in messages:
        try:
            headers = _read_headers(message)
        except (SystemError, ValueError):
            headers = None
        # Consumed headers are a list of (name, bytes) pairs. The stub also allows what a producer accepts.
        found.append(used_headers(tuple(cast("list[tuple[str, bytes | None]]", headers))) if headers else ())
    return found
