"""Traffic for compose.yaml: writes the demo's invented changes at a steady pace, until SIGTERM.

The environment configures it: BOOTSTRAP_SERVERS, REGISTRY_URL, CHANGES_PER_SECOND. It makes the topic, registers the
schema, and waits for both servers to come up.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from worker.backoff import patiently
from worker.commands.demo.stage import TOPIC
from worker.commands.demo.traffic import Planned, plan
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient

Answer = TypeVar("Answer")

_PARTITIONS = 6
_CHANGES_A_ROUND = 6_000
_ANSWER_SECONDS = 30.0


def main() -> None:
    """Prepares, then writes."""
    # As the container's first process it would not notice SIGTERM without a handler.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    brokers = os.environ["BOOTSTRAP_SERVERS"]
    registry = RegistryClient(os.environ["REGISTRY_URL"], {})
    pause = 1 / float(os.environ["CHANGES_PER_SECOND"])
    try:
        admin = AdminClient(
            {"bootstrap.servers": brokers}
        )  # kept in a name: without the client, its answers never come
        _until_done(lambda: _make_topic(admin))
        schema_id = _until_done(lambda: registry.register(f"{TOPIC}-value", bundled("profile_changed")))
        _write(brokers, schema_id, pause)
    except KeyboardInterrupt:
        return


def _until_done(ask: Callable[[], Answer]) -> Answer:
    """Asks again each second, whatever goes wrong: the servers may still be starting."""
    return patiently(ask, retry_on=Exception, wait=lambda _: 1.0, before_sleep=_say)


def _make_topic(admin: AdminClient) -> None:
    topic = NewTopic(TOPIC, num_partitions=_PARTITIONS, replication_factor=1)
    try:
        admin.create_topics([topic], operation_timeout=_ANSWER_SECONDS)[TOPIC].result()
    except KafkaException as failure:
        if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _write(brokers: str, schema_id: int, pause: float) -> None:
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    due = time.monotonic()
    for change in _changes():
        producer.produce(TOPIC, change.encode(schema_id), change.key, on_delivery=_delivered)
        producer.poll(0)
        due = max(due + pause, time.monotonic() - 1)  # after a stand-still, it makes up for one second at most
        time.sleep(max(0.0, due - time.monotonic()))


def _changes() -> Iterator[Planned]:
    for seed in itertools.count(1):
        yield from plan(seed, _CHANGES_A_ROUND)


def _delivered(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        _say(KafkaException(error))


def _say(error: Exception) -> None:
    sys.stderr.write(f"traffic: {type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
