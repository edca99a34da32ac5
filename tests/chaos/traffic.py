"""Seeded traffic: each change carries its user's version, which only grows, so that a step back is visible."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from fastavro import parse_schema, schemaless_reader

from tests.support import topics
from tests.support.profiles import PROFILE_CHANGED, Change, encode, phone

_PARSED = parse_schema(PROFILE_CHANGED)
_FRAME_BYTES = 5


@dataclass(frozen=True, slots=True)
class Logged:
    """A change in the topic. `at`: when it was produced, in epoch seconds."""

    partition: int
    offset: int
    at: float
    user: str
    attributes: dict[str, object]

    @property
    def version(self) -> int:
        version = self.attributes["version"]
        assert isinstance(version, int)
        return version


def endless(seed: int, users: int) -> Iterator[Change]:
    """Yields changes without end. A tenth of the users make about half of them."""
    dice = random.Random(seed)
    versions = [0] * users
    number = 0
    while True:
        user = dice.randrange(max(1, users // 10)) if dice.random() < 0.5 else dice.randrange(users)
        versions[user] += 1
        attributes: dict[str, object] = {"version": versions[user], f"field_{dice.randrange(6)}": number}
        if dice.random() < 0.2:
            attributes["vip"] = dice.random() < 0.5
        yield Change(phone(user), attributes, number)
        number += 1


class Traffic:
    """Writes changes at a steady pace; call `turn` often."""

    def __init__(self, bootstrap_servers: str, topic: str, seed: int, *, users: int, per_second: float) -> None:
        self._topic = topic
        self._changes = endless(seed, users)
        self._per_second = per_second
        self.produced = 0
        self.failed = 0
        # Idempotent, so that the log keeps the order of production whatever happens to the brokers.
        properties = {"enable.idempotence": True, "delivery.timeout.ms": 300_000, "reconnect.backoff.max.ms": 500}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "log_level": 2, "linger.ms": 5, **properties}
        )

    def turn(self, elapsed: float) -> None:
        """Writes what is due `elapsed` seconds after the beginning."""
        while self.produced < elapsed * self._per_second:
            change = next(self._changes)
            self._producer.produce(self._topic, encode(change), change.phone.encode(), on_delivery=self._delivered)
            self.produced += 1
        self._producer.poll(0)

    def finish(self) -> None:
        """Waits until the brokers have everything.

        Raises:
            AssertionError: they have not after two minutes. The fault is then the harness's, not the worker's.
        """
        assert self._producer.flush(120) == 0, "the brokers did not take all changes"
        assert not self.failed, f"{self.failed} changes were not taken"

    def _delivered(self, error: object, _: object) -> None:
        self.failed += error is not None


def read_log(bootstrap_servers: str, topic: str) -> list[Logged]:
    """Everything in the topic, in order within each partition."""
    ends = topics.end_offsets(bootstrap_servers, topic)
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "chaos-reader", "log_level": 2})
    logged: list[Logged] = []
    try:
        for partition, end in ends.items():
            consumer.assign([TopicPartition(topic, partition, 0)])
            while end and (not logged or logged[-1].partition != partition or logged[-1].offset < end - 1):
                for message in consumer.consume(500, 0.2):
                    assert message.error() is None, message.error()
                    logged.append(_read(partition, message))
    finally:
        consumer.close()
    return logged


def _read(partition: int, message: Any) -> Logged:  # noqa: ANN401 - the library's messages carry no types
    event: Any = schemaless_reader(BytesIO(message.value()[_FRAME_BYTES:]), _PARSED, None)
    return Logged(
        partition, message.offset(), message.timestamp()[1] / 1000, event["user"]["phone"], dict(event["attributes"])
    )


def fold(logged: Iterable[Logged]) -> dict[str, dict[str, object]]:
    """What each user must end with: the last value of every attribute."""
    state: dict[str, dict[str, object]] = {}
    for change in logged:
        state.setdefault(change.user, {}).update(change.attributes)
    return state
