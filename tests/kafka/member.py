"""A group member that records its history, and a loop that polls several of them in one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import structlog

from tests.support.brokers import Broker
from tests.support.producers import ordered_producer
from worker.core.model import Partition, Record
from worker.kafka.member import Subscription
from worker.kafka.properties import uses_kip_848

LOG = structlog.get_logger()
DEADLINE_SECONDS = 20.0
# In the classic protocol, members learn of a rebalance by heartbeats. In the mock a rebalance lasts for the session
# time-out. But the mock waits 3 s before a group's first rebalance, and forgets a member with a shorter time-out.
_LIVELY = {"session.timeout.ms": "5000", "heartbeat.interval.ms": "200"}


class Member:
    """A `Subscription` that records its history. `on_revoked` is called in a revoke, before the revoke is recorded."""

    def __init__(
        self,
        broker: Broker,
        topics: str | list[str],
        group: str,
        properties: Mapping[str, str] | None = None,
        on_revoked: Callable[[Member, list[Partition]], None] | None = None,
    ) -> None:
        self.records: list[Record] = []
        self.events: list[tuple[str, frozenset[Partition]]] = []
        self.held: set[Partition] = set()
        self._when_revoked = on_revoked
        self.open = True
        self.subscription = Subscription(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": group,
                **({} if uses_kip_848(properties or {}) else _LIVELY),
                **(properties or {}),
            },
            [topics] if isinstance(topics, str) else topics,
            LOG,
        )
        self.subscription.subscribe(self)

    def poll(self, timeout_seconds: float = 0.02) -> list[Record]:
        records = self.subscription.poll(timeout_seconds)
        self.records += records
        return records

    def offsets(self, partition: Partition) -> list[int]:
        return [record.offset for record in self.records if record.partition == partition]

    def positions(self) -> dict[Partition, int]:
        """Return the next offset after the last record of each partition."""
        return {record.partition: record.offset + 1 for record in self.records}

    def close(self) -> None:
        self.open = False
        self.subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.open:
            self.close()

    def assigned(self, partitions: list[Partition]) -> None:
        self.held.update(partitions)
        self.events.append(("assigned", frozenset(partitions)))

    def revoked(self, partitions: list[Partition]) -> None:
        if self._when_revoked is not None:
            self._when_revoked(self, partitions)
        self.held.difference_update(partitions)
        self.events.append(("revoked", frozenset(partitions)))

    def lost(self, partitions: list[Partition]) -> None:
        self.held.difference_update(partitions)
        self.events.append(("lost", frozenset(partitions)))


def until(condition: Callable[[], bool], *members: Member, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll the members in turn until the condition holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, [(member.events, member.subscription.problem) for member in members]
        for member in members:
            member.poll()


def produce(broker: Broker, topic: str, records: Iterable[tuple[int, bytes | None]]) -> None:
    """Write (partition, value) pairs in order and wait until they are there."""
    producer = ordered_producer(broker.bootstrap_servers)
    for partition, value in records:
        producer.produce(topic, value=value, partition=partition)
    assert producer.flush(DEADLINE_SECONDS) == 0


def numbered(count: int, partitions: int = 4) -> list[tuple[int, bytes | None]]:
    """Build records 0 to count-1, dealt out to the partitions in turn."""
    return [(number % partitions, str(number).encode()) for number in range(count)]
