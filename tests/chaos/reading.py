"""Reads a whole topic after a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

_SECONDS = 20.0


def messages(bootstrap_servers: str, topic: str) -> Iterator[Any]:
    """Yields everything in the topic, in order within each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "chaos-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    try:
        unread = set(consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in unread])
        while unread:
            message = consumer.poll(_SECONDS)
            assert message is not None, f"partitions {unread} of {topic} cannot be read to their ends"
            error = message.error()
            if error is None:
                yield message
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                unread.discard(message.partition())
    finally:
        consumer.close()
