"""Reads a whole topic after a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

_SECONDS = 20.0


def messages(bootstrap_servers: str, topic: str) -> Iterator[Any]:
    """Yields everything in the topic, in order within each partition, one partition after the other."""
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
        for partition in sorted(consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions):
            consumer.assign([TopicPartition(topic, partition, 0)])
            while True:
                message = consumer.poll(_SECONDS)
                assert message is not None, f"partition {partition} of {topic} cannot be read to its end"
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    break
                assert error is None, error
                yield message
    finally:
        consumer.close()
