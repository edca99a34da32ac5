"""The note of spent dead letters beside the committed offsets, when the brokers do not return it in time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.lossy_broker import OFFSET_FETCH, LossyBroker
from tests.support.processes import until
from tests.support.producers import ordered_producer
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BAD = 5


@pytest.fixture
def lab(lossy_broker: LossyBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(lossy_broker, tmp_path)
    yield lab
    lab.end()


def test_a_note_that_was_not_read_is_not_written_over(lab: Lab, lossy_broker: LossyBroker) -> None:
    """The second worker delivers, but commits nothing: it does not know how many letters were spent before it."""
    broker = lossy_broker
    broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    producer = ordered_producer(broker.bootstrap_servers)
    for _ in range(BAD):
        producer.produce(lab.topic, b"bad", b"key")
    assert producer.flush(30) == 0
    first = lab.worker(sandbox.base_url)
    lab.until_committed(60)
    assert first.stop() == 0
    committed = _committed(lab)
    assert committed[0] == BAD
    assert str(BAD) in committed[1]

    asked = count()
    # The first question is librdkafka's own: where to begin.
    broker.loses = lambda api_key: api_key == OFFSET_FETCH and next(asked) > 0
    second = lab.worker(sandbox.base_url, {"WORKER_KAFKA__BOOTSTRAP_SERVERS": broker.lossy})
    made = list(changes(3, events=20, users=20))
    lab.produce(made)
    until(lambda: second.status()["totals"]["delivered_entries"] == len(sandbox.users()) > 0, 60, "deliveries")
    second.stop()
    assert second.events("notes_not_read")
    assert _committed(lab) == committed

    third = lab.worker(sandbox.base_url)
    lab.until_committed(60)
    assert third.stop() == 0
    assert_equivalent(sandbox, made)


def _committed(lab: Lab) -> tuple[int, str]:
    """The group's offset of the one partition, and the note beside it."""
    reader = Consumer({"bootstrap.servers": lab.broker.bootstrap_servers, "group.id": lab.group, "log_level": 2})
    try:
        [found] = reader.committed([TopicPartition(lab.topic, 0)], timeout=10)
    finally:
        reader.close()
    return found.offset, found.metadata or ""
