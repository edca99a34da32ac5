"""Producers that write in transactions: what they leave in the log beside records does not hold up the offsets."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import until
from tests.support.profiles import Change, changes, encode

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 31


def test_the_lag_reaches_zero_and_aborted_changes_are_not_sent(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    made = list(changes(SEED, events=60, users=20))
    producer = Producer({"bootstrap.servers": lab.broker.bootstrap_servers, "transactional.id": lab.topic})
    producer.init_transactions(30)
    for number in range(0, len(made), 10):
        write(lab, producer, made[number : number + 10])
        producer.commit_transaction(30)
    write(lab, producer, [Change(change.phone, {"aborted": "yes"}, 1) for change in made[:10]])
    producer.flush(30)
    producer.abort_transaction(30)
    worker = lab.worker(sandbox.base_url)
    until(lambda: worker.status()["totals"]["records"] == len(made), 30, "all is read")
    until(lambda: [each["lag"] for each in worker.status()["partitions"]] == [0, 0, 0], 30, "no lag")
    lab.until_committed(30)
    assert_equivalent(sandbox, made)
    assert worker.stop() == 0


def write(lab: Lab, producer: Producer, made: list[Change]) -> None:
    """Begins a transaction with these changes."""
    producer.begin_transaction()
    for change in made:
        producer.produce(lab.topic, encode(change), change.phone.encode())
