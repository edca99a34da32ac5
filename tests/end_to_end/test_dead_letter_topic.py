"""A dead-letter topic with a small size limit, deleted, or on a full disk: no commit passes a letter, none is lost."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.brokers import LocalBroker, RunningBroker
from tests.support.processes import until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def _produce_garbage(lab: Lab, *values: bytes) -> None:
    producer = Producer(
        {"bootstrap.servers": lab.broker.bootstrap_servers, "log_level": 2, "message.max.bytes": 4_000_000}
    )
    for value in values:
        producer.produce(lab.topic, value, b"key")
    assert producer.flush(30) == 0


def test_a_letter_that_is_too_large_for_the_topic_is_cut_to_fit(lab: Lab) -> None:
    """The topic accepts 4,000 bytes; an undecodable record has 100,000. Its letter is cut, and says so."""
    lab.broker.create_topic(lab.topic, 1)
    lab.broker.create_topic(lab.dead_letter_topic, 1, {"max.message.bytes": "4000"})
    sandbox = lab.sandbox()
    lab.worker(sandbox.base_url)
    _produce_garbage(lab, random.Random(1).randbytes(100_000), b"small")
    lab.until_committed(60)
    large, small = sorted(lab.dead_letters(), key=lambda letter: len(str(letter["value"])), reverse=True)
    assert large["cut"]
    assert not small["cut"]


def test_a_missing_topic_holds_the_commit_until_it_is_back(lab: Lab) -> None:
    """It is deleted while the worker runs. Good changes go on; a bad record's offset waits for its letter."""
    broker = lab.broker
    assert isinstance(broker, RunningBroker)
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url)
    worker.until_ready()
    [deleted] = broker.admin.delete_topics([lab.dead_letter_topic]).values()
    deleted.result(30)
    made = [Change(phone(user), {"loyalty_points": user}, user) for user in range(50)]
    _produce_garbage(lab, b"garbage")
    lab.produce(made)
    until(lambda: sandbox.stats()["users"] == 50, 60, "the good changes are delivered")
    until(lambda: worker.events("waiting"), 60, "a log line about the topic")
    assert worker.events("waiting")[-1]["reason"] == "dead_letter_topic"
    until(lambda: worker.status()["problem"], 10, "the problem on /status")
    assert not lab.all_committed()
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    lab.until_committed(90)
    assert [letter["reason"] for letter in lab.dead_letters()] == ["undecodable"]
    assert_equivalent(sandbox, made)
    assert worker.stop() == 0


def test_a_full_disk_holds_the_commit_until_there_is_room(own_broker: LocalBroker, tmp_path: Path) -> None:
    """The broker cannot write letters that do not fit, and ends. After its restart all letters are written."""
    records = 40
    own_broker.start()
    lab = Lab(own_broker, tmp_path)
    try:
        lab.broker.create_topic(lab.topic, 1)
        sandbox = lab.sandbox()
        worker = lab.worker(sandbox.base_url)
        worker.until_ready()
        worker.signal(signal.SIGSTOP)  # so that it writes no letter before the disk is full
        dice = random.Random(2)
        _produce_garbage(lab, *(dice.randbytes(2_000) for _ in range(records)))
        made = [Change(phone(user), {"loyalty_points": user}, user) for user in range(50)]
        lab.produce(made)
        own_broker.fill_disk(bytes_left=50_000)
        worker.signal(signal.SIGCONT)
        until(lambda: not own_broker.running, 60, "the broker gives up")
        until(lambda: worker.status()["problem"], 60, "the problem on /status")
        own_broker.start()
        lab.until_committed(120)
        assert {letter["sources"][0]["offset"] for letter in lab.dead_letters()} == set(range(records))  # type: ignore[index]  # a letter is a dict of objects
        assert_equivalent(sandbox, made)
        assert worker.stop() == 0
    finally:
        lab.end()
