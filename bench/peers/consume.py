"""Consumes and decodes, and does nothing else: the floor that no worker in Python gets below."""

from __future__ import annotations

from confluent_kafka import Consumer

from bench.peers.common import AT_ONCE, decode, done, say, settings


def main() -> None:
    """Reads the topic to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": settings.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([settings.topic], on_assign=lambda *_: say("assigned"))
    seen = 0
    while seen < settings.events:
        for message in consumer.consume(AT_ONCE, 0.1):
            if message.error() is None:
                decode(message.value() or b"")
                seen += 1
    done()


main()
