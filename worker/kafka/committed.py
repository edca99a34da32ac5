"""What a group has committed, asked by a consumer that is no member of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from worker.backoff import patiently
from worker.core.model import Partition
from worker.kafka.connection import Connection, in_words

_RETRY_SECONDS: Final = 0.2
_MOVING: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


T = TypeVar("T")


class GroupUnavailable(Exception):
    """The brokers do not answer for a group, or refuse. The message says why. Nothing is known to have moved."""


class _Moving(GroupUnavailable):
    """The group's coordinator moves, or is not there yet."""


class Committed(NamedTuple):
    """What a group committed for a partition: the next offset to read (None: nothing), and the note beside it."""

    offset: int | None
    note: str


def committed(
    consumer: Consumer, connection: Connection, partitions: Iterable[Partition], timeout_seconds: float
) -> dict[Partition, Committed]:
    """What the consumer's group has committed for each partition. Asks again while the coordinator moves.

    Not by an admin client: librdkafka aborts the process if one asks and a coordinator that is moving answers.

    Raises:
        GroupUnavailable: The brokers do not say.
    """
    asked = [TopicPartition(*each) for each in partitions]
    return while_it_moves(lambda: _ask(consumer, connection, asked, timeout_seconds), timeout_seconds)


def while_it_moves(ask: Callable[[], T], timeout_seconds: float) -> T:
    """Asks again as long as the group's coordinator moves, or is not there yet."""
    return patiently(ask, retry_on=_Moving, wait=lambda _: _RETRY_SECONDS, timeout_seconds=timeout_seconds)


def unavailable(error: KafkaError, words: str) -> GroupUnavailable:
    """The error to raise, with these words. `while_it_moves` knows those of a coordinator that moves."""
    return (_Moving if error.code() in _MOVING else GroupUnavailable)(words)


def _ask(
    consumer: Consumer, connection: Connection, asked: list[TopicPartition], timeout_seconds: float
) -> dict[Partition, Committed]:
    try:
        answers = consumer.committed(asked, timeout=timeout_seconds)
    except KafkaException as failure:
        raise _unavailable(consumer, connection, failure.args[0]) from failure
    for answer in answers:
        if answer.error is not None:
            raise _unavailable(consumer, connection, answer.error)
    return {
        Partition(of.topic, of.partition): Committed(of.offset if of.offset >= 0 else None, of.metadata or "")
        for of in answers
    }


def _unavailable(consumer: Consumer, connection: Connection, error: KafkaError) -> GroupUnavailable:
    consumer.poll(0)  # the client's earlier errors say why
    return unavailable(error, f"the group's committed offsets: {connection.problem or in_words(error)}")
