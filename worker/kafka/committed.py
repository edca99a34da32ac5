"""What a group has committed. It is asked without joining the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, consumer_properties
from worker.kafka.topics import TopicsUnavailable


def committed(
    properties: Properties, partitions: Iterable[Partition], timeout_seconds: float, log: FilteringBoundLogger
) -> Mapping[Partition, int | None]:
    """The committed offset of each partition in the group of the properties. None: nothing is committed.

    By a consumer: librdkafka aborts the process if an admin client asks and a coordinator that is moving answers.

    Raises:
        TopicsUnavailable: The group's coordinator does not answer, or refuses.
    """
    connection = Connection("committed", log)
    with connecting():
        consumer = Consumer({**consumer_properties(properties), **connection.callbacks()})
    try:
        answers = consumer.committed([TopicPartition(*each) for each in partitions], timeout=timeout_seconds)
    except KafkaException as failure:
        words = connection.problem or in_words(failure.args[0])
        raise TopicsUnavailable(f"the group's committed offsets: {words}") from failure
    finally:
        consumer.close()
    found = {}
    for each in answers:
        if each.error is not None:
            raise TopicsUnavailable(f"the group's committed offsets: {in_words(each.error)}")
        found[Partition(each.topic, each.partition)] = each.offset if each.offset >= 0 else None
    return found
