"""A consumed message as the core's record."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Message

from worker.core.model import Headers, Partition, Record


def record_of(message: Message) -> Record:
    """Convert a message that is no error.

    Raises:
        RuntimeError: it has no partition or no offset, which a consumed one always has.
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
        # A consumed record's headers are a list of pairs with bytes; the stub also allows what a producer takes.
        headers=tuple(cast("list[tuple[str, bytes | None]]", headers)) if headers else cast("Headers", ()),
    )
