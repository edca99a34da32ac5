"""Storms of refusals: the worker writes few dead letters and halts, across restarts too; deliveries go on after."""

from __future__ import annotations

import signal

import pytest

from tests.end_to_end.conftest import SHORT_SESSION, Lab, final_state
from tests.support.processes import until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

USERS = 6_000
LETTERS_MAX = 200


def test_a_storm_of_refusals_halts_before_the_dead_letter_topic_fills(lab: Lab) -> None:
    """6,000 users are refused, and the worker restarts three times, once after a crash: at most 200 letters in all."""
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--errors", "vague", "--limit", "0")
    sandbox.faults([{"status": 400, "body": {"error": {"id": 1, "message": "Bad Request"}}}])
    lab.produce(
        Change(phone(user), {"loyalty_points": user, "favourite_store": "North"}, user) for user in range(USERS)
    )
    quick = {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "1000"}
    for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        worker = lab.worker(sandbox.base_url, {**quick, **SHORT_SESSION, "WORKER_SHUTDOWN__DRAIN_SECONDS": "3"})
        until(lambda it=worker: it.status()["state"] == "halted", 60, "halted")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        assert worker.ready().json()["reason"] == "rejection_storm"
        worker.signal(ending)
        worker.wait(30)
    worker = lab.worker(sandbox.base_url, quick)
    until(lambda: worker.status()["state"] == "halted", 60, "halted again")
    letters = lab.dead_letters()
    assert 0 < len(letters) <= LETTERS_MAX
    assert {letter["reason"] for letter in letters} == {"rejected"}

    sandbox.faults([])
    until(lambda: worker.ready().status_code == 200, 30, "ready again, by itself")
    lab.until_committed(120)
    lost = {(letter["record_key"], value["name"]) for letter in lab.dead_letters() for value in letter["attributes"]}  # type: ignore[attr-defined]  # a letter is a dict of objects
    found = final_state(sandbox)
    # A value refused before a restart may be accepted after it, so it may be both delivered and in a letter.
    missing = [
        (user, name)
        for user in range(USERS)
        for name, value in {"loyalty_points": user, "favourite_store": "North"}.items()
        if found.get(phone(user), {}).get(name) != value and (str(phone(user).encode()), name) not in lost
    ]
    assert missing == []


def test_a_storm_of_records_that_cannot_be_decoded_halts_too(lab: Lab) -> None:
    """A producer has the wrong serializer: few letters, across restarts too, and good records behind are delivered."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for number in range(2_000):
        producer.produce(lab.topic, b'{"number": %d}' % number, b"key")
    assert producer.flush(30) == 0
    for _ in range(2):
        worker = lab.worker(sandbox.base_url, {"WORKER_SHUTDOWN__DRAIN_SECONDS": "2"})
        until(lambda it=worker: it.ready().json().get("reason") == "rejection_storm", 60, "halted")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        assert 0 < len(lab.dead_letters()) <= LETTERS_MAX
        withheld = worker.status()["letters_withheld"]
        assert worker.stop() == 1
        (ended,) = worker.events("stopped_with_work_left")
        assert ended["left"] >= withheld > 0, "what is held is counted, and not waited for"
    worker = lab.worker(sandbox.base_url)
    made = [Change(phone(user), {"loyalty_points": user}, user) for user in range(2_500)]
    lab.produce(made)
    until(lambda: sandbox.stats()["users"] == len(made), 120, "good records are delivered meanwhile")
    lab.until_committed(120)
    assert len(lab.dead_letters()) >= 2_000, "good records must have earned credit for the withheld letters"
    until(lambda: worker.ready().status_code == 200, 20, "ready again")
