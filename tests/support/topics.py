"""Reads what is in Kafka after a run: offsets and dead letters."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from fastavro import parse_schema, schemaless_reader

from tests.support.profiles import DEAD_LETTER

_PARSED = parse_schema(DEAD_LETTER)


def end_offsets(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """The next offset of each partition.

    Raises:
        KafkaException: The brokers do not say.
    """
    consumer = _reader(bootstrap_servers)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {number: consumer.get_watermark_offsets(TopicPartition(topic, number))[1] for number in partitions}
    finally:
        consumer.close()


def committed_offsets(bootstrap_servers: str, group_id: str, topic: str) -> dict[int, int]:
    """The group's committed offsets of the topic. Empty if the brokers cannot say, as while a coordinator moves.

    A consumer asks that joins no group: librdkafka's admin client would crash the process if a coordinator answered it
    with an error.
    """
    consumer = _reader(bootstrap_servers, group_id)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        found = consumer.committed([TopicPartition(topic, number) for number in partitions], timeout=10)
    except KafkaException:
        return {}
    finally:
        consumer.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}


def all_committed(bootstrap_servers: str, group_id: str, topic: str) -> bool:
    """Whether the group's offsets have reached the end of every partition that holds records. No if nobody says."""
    try:
        ends = end_offsets(bootstrap_servers, topic)
    except KafkaException:
        return False
    written = {number: end for number, end in ends.items() if end > 0}
    return bool(ends) and written.items() <= committed_offsets(bootstrap_servers, group_id, topic).items()


def dead_letters(bootstrap_servers: str, topic: str, *, framed: bool = True) -> list[dict[str, Any]]:
    """Every dead letter in the topic, decoded, with its `headers` and its Kafka `record_key` added."""
    letters = []
    for message in messages(bootstrap_servers, topic):
        body = io.BytesIO((message.value() or b"")[5 if framed else 0 :])
        letter: dict[str, Any] = schemaless_reader(body, _PARSED, None)  # type: ignore[assignment]  # a record's is a dict
        letter["headers"] = dict(message.headers() or [])
        letter["record_key"] = message.key()
        letters.append(json.loads(json.dumps(letter, default=str)))
    return letters


def commit_ends(bootstrap_servers: str, group: str, topic: str) -> None:
    """A new group begins at the topic's present end."""
    ends = [TopicPartition(topic, number, end) for number, end in end_offsets(bootstrap_servers, topic).items()]
    consumer = _reader(bootstrap_servers, group)
    try:
        consumer.commit(offsets=ends, asynchronous=False)
    finally:
        consumer.close()


def messages(bootstrap_servers: str, topic: str) -> Iterator[Message]:
    """Everything in the topic."""
    consumer = _reader(bootstrap_servers)
    try:
        for number, end in end_offsets(bootstrap_servers, topic).items():
            consumer.assign([TopicPartition(topic, number, 0)])
            position = 0
            while position < end:
                message = consumer.poll(10)
                assert message is not None, "the topic is shorter than its end offset says"
                assert message.error() is None, message.error()
                position = (message.offset() or 0) + 1
                yield message
    finally:
        consumer.close()


def _reader(bootstrap_servers: str, group_id: str = "test-reader") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
