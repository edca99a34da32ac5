"""A batch that the client cannot unpack: nothing is lost, nothing behind it is read, and that is told all the time."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.end_to_end.conftest import Lab
from tests.support.processes import until
from tests.support.profiles import Change, encode, phone
from tests.support.topics import committed_offsets

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LARGE_BYTES = 300_000_000  # zeros; some KiB on the wire


def test_the_partition_waits_before_it_and_names_it(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 2)
    sandbox = lab.sandbox("--limit", "0")
    properties = {"compression.type": "zstd", "message.max.bytes": "1000000000"}
    producer = Producer({"bootstrap.servers": lab.broker.bootstrap_servers, **properties})
    large = b"\0\0\0\0\7" + bytes(LARGE_BYTES)
    for value in (encode(Change(phone(1), {"a": 1}, 1)), large, encode(Change(phone(2), {"a": 2}, 2))):
        producer.produce(lab.topic, value, b"k", 0)
        assert producer.flush(60) == 0
    del large
    worker = lab.worker(sandbox.base_url)

    def problem() -> str:
        return str(worker.status()["problem"])

    until(lambda: f"{lab.topic}[0] offset 1 cannot be read" in problem(), 60, "the batch is named")
    until(
        lambda: committed_offsets(lab.broker.bootstrap_servers, lab.group, lab.topic).get(0) == 1, 30, "what is before"
    )
    producer.produce(lab.topic, encode(Change(phone(3), {"a": 3}, 3)), b"k", 1)
    assert producer.flush(60) == 0
    until(lambda: sandbox.stats()["users"] == 2, 30, "the other partition goes on")
    assert "set its offset behind the batch" in problem()
    assert lab.dead_letters() == []
