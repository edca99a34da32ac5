"""What a group has committed. It is asked without joining the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.backoff import patiently
from worker.core.model import Partition
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, consumer_properties
from worker.kafka.topics import TopicsUnavailable

_RETRY_SECONDS: Final = 0.2
_MOVING: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


class _Moving(TopicsUnavailable):
    """The group's coordinator moves, or is not there yet."""


def committed(
    properties: Properties, partitions: Iterable[Partition], timeout_seconds: float, log: FilteringBoundLogger
) -> Mapping[Partition, int | None]:
    """The committed offset of each partition in the group of the properties. None: nothing is committed.

    While the coordinator moves, it is asked again, for `timeout_seconds`.

    By a consumer: librdkafka aborts the process if an admin client asks and a coordinator that is moving answers.

    Raises:
        TopicsUnavailable: The group's coordinator does not answer, or refuses.
    """
    connection = Connection("committed", log)
    with connecting():
        consumer = Consumer({**consumer_properties(properties), **connection.callbacks()})
    asked = [TopicPartition(*each) for each in partitions]
    try:
        return patiently(
            lambda: _ask(consumer, connection, asked, timeout_seconds),
            retry_on=_Moving,
            wait=lambda _: _RETRY_SECONDS,
            timeout_seconds=timeout_seconds,
        )
    finally:
        consumer.close()


def _ask(
    consumer: Consumer, connection: Connection, asked: list[TopicPartition], timeout_seconds: float
) -> Mapping[Partition, int | None]:
    try:
        answers = consumer.committed(asked, timeout=timeout_seconds)
    except KafkaException as failure:
        kind = _Moving if failure.args[0].code() in _MOVING else TopicsUnavailable
        words = connection.problem or in_words(failure.args[0])
        raise kind(f"the group's committed offsets: {words}") from failure
    found = {}
    for each in answers:
        if each.error is not None:
            kind = _Moving if each.error.code() in _MOVING else TopicsUnavailable
            raise kind(f"the group's committed offsets: {in_words(each.error)}")
        found[Partition(each.topic, each.partition)] = each.offset if each.offset >= 0 else None
    return found
