"""Ends a consumer's connections within a time."""

from __future__ import annotations

from threading import Thread

from confluent_kafka import Consumer


def close_within(consumer: Consumer, seconds: float) -> bool:
    """Closes the consumer, and returns whether it has ended in time. If not, it does not keep the process alive.

    librdkafka's own close has no time-out: if a broker is frozen, it waits minutes for the answers to commits.
    """
    closer = Thread(target=consumer.close, name="kafka-close", daemon=True)
    closer.start()
    closer.join(max(0.0, seconds))
    return not closer.is_alive()
