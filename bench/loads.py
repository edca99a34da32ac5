"""The loads: profile changes made from a seed and encoded once. Every run reads the same ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Producer

from tests.support.brokers import Broker, unique_name
from tests.support.profiles import Change, encode, phone

SEED = 20_240_601
PARTITIONS = 4  # what the embedded mock gives every topic
# Past about 5 MiB in a partition the embedded mock drops the oldest records.
MOCK_BYTES_MAX = 4 * 1024 * 1024
_RECORD_OVERHEAD_BYTES = 40
_BATCH_RECORDS = 250  # a fetch brings whole batches, so these are small, as live traffic makes them
_TOGETHER = 20  # changes of this many users come in turn, one change of each


@dataclass(frozen=True)
class Load:
    """The events for one kind of run, as records in Kafka: (partition, key, value)."""

    name: str
    changes_per_user: int
    window_seconds: float
    records: tuple[tuple[int, bytes, bytes], ...]

    @property
    def users(self) -> int:
        """How many users there are."""
        return -(-len(self.records) // self.changes_per_user)


def one_to_one(events: int) -> Load:
    """Every event is of another user and due at once: as many calls as events."""
    return Load("1:1", 1, 0.0, tuple(_records(events, 1)))


def ten_to_one(events: int) -> Load:
    """Each user changes ten times within one window, mixed with a few others: one call for each user."""
    return Load("10:1", 10, 1.0, tuple(_records(events, 10)))


def hundred_to_one(events: int) -> Load:
    """Each user changes a hundred times within one window, mixed with a few others: one call for each user."""
    return Load("100:1", 100, 1.0, tuple(_records(events, 100)))


def four_large(events: int) -> Load:
    """Records of 600 bytes, four of each user, each with a value that nobody else has."""
    filler = "x" * 520
    made = (Change(phone(number // 4), {"note": f"{number:07}{filler}"}, number) for number in range(events))
    records = tuple((number // 4 % PARTITIONS, each.phone.encode(), encode(each)) for number, each in enumerate(made))
    return Load("four large", 4, 5.0, records)


def _records(events: int, changes_per_user: int) -> Iterator[tuple[int, bytes, bytes]]:
    rng = random.Random(SEED)
    block = _TOGETHER * changes_per_user
    for number in range(events):
        user = number // block * _TOGETHER + number % _TOGETHER
        attributes: dict[str, object] = {
            "loyalty_points": rng.randrange(100_000),
            "favourite_store": rng.choice(["North", "South", "East", "West"]),
            "last_order_total": rng.randrange(1, 99_999) + 0.25,
            "vip": rng.choice([True, False]),
        }
        change = Change(phone(user), attributes, number)
        yield user % PARTITIONS, change.phone.encode(), encode(change)


def fill(broker: Broker, load: Load) -> str:
    """Writes the load to a topic of its own; returns the topic's name.

    Raises:
        ValueError: it is too large for the embedded mock.
        RuntimeError: the broker did not take all of it.
    """
    topic = new_topic(broker)
    write(broker, load, topic)
    return topic


def new_topic(broker: Broker) -> str:
    """Makes an empty topic."""
    topic = unique_name("bench")
    broker.create_topic(topic, PARTITIONS)
    return topic


def write(broker: Broker, load: Load, topic: str) -> None:
    """Writes the load to a topic. Raises as `fill` does."""
    if not broker.real:
        stored = sum(len(key) + len(value) + _RECORD_OVERHEAD_BYTES for _, key, value in load.records)
        if stored > MOCK_BYTES_MAX * PARTITIONS:
            fit = len(load.records) * MOCK_BYTES_MAX * PARTITIONS // stored
            raise ValueError(
                f"{load.name}: the embedded mock holds {fit:,} of these events; ask for fewer, or use a Kafka"
            )
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "batch.num.messages": _BATCH_RECORDS,
            "linger.ms": 20,
            "log_level": 2,
        }
    )
    failures: list[object] = []
    for partition, key, value in load.records:
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    on_delivery=lambda error, _: failures.append(error) if error else None,
                )
                break
            except BufferError:  # librdkafka's queue is full
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(60) or failures:
        raise RuntimeError(f"{load.name}: the broker did not take all records: {failures[:1]}")
