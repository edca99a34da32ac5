"""Producers for tests."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Producer


def ordered_producer(bootstrap_servers: str, properties: Mapping[str, object] | None = None) -> Producer:
    """A producer whose records lie in each partition in the order in which they were produced.

    Idempotence keeps it. Without it, a batch that is refused at first is written after the next one. A broker refuses
    batches while it does not know a new topic yet.
    """
    return Producer(
        {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "log_level": 2, **(properties or {})}
    )
