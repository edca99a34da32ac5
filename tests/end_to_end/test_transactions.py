"""Producers that write in transactions: what they leave in the log beside records does not hold up the offsets."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import until
from tests.support.profiles import Change, changes, encode
from worker.live.silence import SILENT_SECONDS

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


def test_a_transaction_that_hangs_is_a_problem_that_names_the_partition_until_it_ends(lab: Lab) -> None:
    """Its producer died. What others write behind it is not handed out, and the brokers say nothing of it."""
    lab.broker.create_topic(lab.topic, 1)
    made = list(changes(SEED, events=40, users=10))
    lab.produce(made[:20])
    patient = {"transactional.id": lab.topic, "transaction.timeout.ms": 600_000}  # the brokers end it after that
    producer = Producer({"bootstrap.servers": lab.broker.bootstrap_servers, **patient})
    producer.init_transactions(30)
    write(lab, producer, [Change(made[0].phone, {"never": "sent"}, 1)])
    producer.flush(30)
    lab.produce(made[20:])
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url)
    until(lambda: worker.status()["problem"], SILENT_SECONDS + 60, "the silence is told")
    status, ready, words = worker.status(), worker.ready(), f"{lab.topic}[0] ends at offset"
    assert status["problems"] == ["no_records"]
    assert status["problem"].startswith(words)
    assert "a transaction that its producer never ended" in status["problem"]
    assert words in ready.text
    until(lambda: worker.events("waiting"), 10, "a log line")
    (line,) = worker.events("waiting")
    assert (line["reason"], line["detail"].startswith(words)) == ("no_records", True)
    producer.abort_transaction(30)
    until(lambda: worker.status()["problem"] is None, 60, "the end of the silence is told")
    until(lambda: [each["lag"] for each in worker.status()["partitions"]] == [0], 30, "no lag")
    lab.until_committed(60)
    assert_equivalent(sandbox, made)
    assert worker.stop() == 0


def write(lab: Lab, producer: Producer, made: list[Change]) -> None:
    """Begins a transaction with these changes."""
    producer.begin_transaction()
    for change in made:
        producer.produce(lab.topic, encode(change), change.phone.encode())
