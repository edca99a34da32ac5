"""Converts a consumed message to the core's record."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Message

from worker.core.model import Headers, Partition, Record


def record_of(message: Message) -> Record:
    """Converts a message that is not an error.

    Raises:
        RuntimeError: It has no topic, partition or offset. A consumed message always has them.
    """
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise RuntimeError("a record came without topic, partition or offset: report this as a bug")
    headers = message.headers()
    return Record(
        partition=Partition(topic, partition),
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        # Consumed headers are a list of (name, bytes) pairs. The stub also allows what a producer accepts.
        headers=tuple(cast("list[tuple[str, bytes | None]]", headers)) if headers else cast("Headers", ()),
    )
