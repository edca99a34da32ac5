"""Where logs begin and end. One question for all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from worker.core.model import Partition
from worker.kafka.connection import in_words
from worker.kafka.topics import Admin, TopicsUnavailable


def starts(admin: Admin, partitions: Iterable[Partition], timeout_seconds: float) -> Mapping[Partition, int]:
    """The first offset that each partition still has; errors as `ends`."""
    return _ask(admin, partitions, OffsetSpec.earliest(), timeout_seconds)  # type: ignore[no-untyped-call]  # so the library ships it


def ends(admin: Admin, partitions: Iterable[Partition], timeout_seconds: float) -> Mapping[Partition, int]:
    """The offset behind the last record of each partition that no open transaction holds back.

    Raises:
        TopicsUnavailable: The brokers did not answer for a partition. Says which, and why.
    """
    return _ask(admin, partitions, OffsetSpec.latest(), timeout_seconds)  # type: ignore[no-untyped-call]  # as above


def at(
    admin: Admin, partitions: Iterable[Partition], time_ms: int, timeout_seconds: float
) -> Mapping[Partition, int | None]:
    """The offset of each partition's first record at or after a time (milliseconds since the epoch).

    None if it has no such record; errors as `ends`. Where records are not in the order of their times, a later one may
    be older.
    """
    found = _ask(admin, partitions, OffsetSpec.for_timestamp(time_ms), timeout_seconds)
    return {partition: None if offset < 0 else offset for partition, offset in found.items()}


def _ask(
    admin: Admin, partitions: Iterable[Partition], spec: OffsetSpec, timeout_seconds: float
) -> Mapping[Partition, int]:
    asked = admin.client.list_offsets(
        {TopicPartition(*partition): spec for partition in partitions},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=timeout_seconds,
    )
    found = {}
    for of, answer in asked.items():
        try:
            found[Partition(of.topic, of.partition)] = answer.result().offset  # bounded by request_timeout
        except KafkaException as failure:
            words = in_words(failure.args[0])
            raise TopicsUnavailable(f"topic {of.topic}, partition {of.partition}: {words}") from failure
    return found
