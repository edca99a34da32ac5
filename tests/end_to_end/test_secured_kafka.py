"""Brokers that speak TLS, with a password (SCRAM) or a client's certificate: the whole job over each, and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import structlog

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support import topics
from tests.support.processes import WorkerCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import changes
from tests.support.secured_broker import MUTUAL, PASSWORD, SCRAM, USER, Secured
from worker.kafka.topics import Admin, TopicsUnavailable

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 20_261_129
WRONG_PASSWORD = "planted-other-password"


@pytest.fixture
def lab(secured: Secured, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(secured.broker, tmp_path)
    yield lab
    lab.end()


@pytest.mark.parametrize("listener", [SCRAM, MUTUAL])
def test_the_worker_reads_delivers_writes_dead_letters_and_commits(secured: Secured, lab: Lab, listener: str) -> None:
    """All of its clients log in: consumer, producer and admin. It also creates the dead-letter topic."""
    made = list(changes(SEED, events=200, users=40))
    lab.broker.create_topic(lab.topic, 3)
    lab.produce(made)
    unreadable(lab)
    sandbox = lab.sandbox()
    environment = secured.environment(listener, secured.properties(listener))
    found = lab.check(sandbox.base_url, environment)
    assert {check: one["what"] for check, one in found.items() if one["level"] == "fail"} == {}
    worker = lab.worker(sandbox.base_url, environment)
    lab.until_committed(60)
    assert_equivalent(sandbox, made)
    assert [letter["reason"] for letter in lab.dead_letters()] == ["undecodable"]
    assert worker.stop() == 0
    assert PASSWORD not in worker.log.read_text()


def unreadable(lab: Lab) -> None:
    producer = ordered_producer(lab.broker.bootstrap_servers)
    producer.produce(lab.topic, b"no schema's id", b"somebody")
    assert producer.flush(30) == 0


@dataclass(frozen=True)
class Refusal:
    """What a worker without the right properties is told."""

    listener: str
    properties: Mapping[str, str]
    words: str


def refusals(secured: Secured) -> dict[str, Refusal]:
    password, mutual = secured.properties(SCRAM), secured.properties(MUTUAL)
    bare = {name: value for name, value in mutual.items() if name not in secured.shown(secured.certificate)}
    login, tls, protocol = (
        "authentication failed: check",
        "TLS failed: check",
        "the listener of bootstrap.servers speaks another protocol than security.protocol says",
    )
    return {
        "a wrong password": Refusal(SCRAM, password | {"sasl.password": WRONG_PASSWORD}, login),
        "another authority": Refusal(SCRAM, password | {"ssl.ca.location": str(secured.foreign_trust)}, tls),
        "no certificate": Refusal(MUTUAL, bare, tls),
        "a stranger's certificate": Refusal(MUTUAL, mutual | secured.shown(secured.foreign_certificate), tls),
        "no TLS": Refusal(SCRAM, password | {"security.protocol": "SASL_PLAINTEXT"}, protocol),
    }


@pytest.mark.parametrize("listener", ["PLAINTEXT", SCRAM, MUTUAL])
def test_a_listener_with_another_protocol_is_told_as_that(secured: Secured, listener: str) -> None:
    """SASL forgotten, TLS forgotten, or either at a listener that has none."""
    plain = listener == "PLAINTEXT"
    address = secured.broker.bootstrap_servers if plain else secured.broker.address(listener)
    own = "PLAINTEXT" if plain else secured.properties(listener)["security.protocol"]
    for protocol in {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"} - {own}:
        properties = {**secured.properties(SCRAM), "security.protocol": protocol}
        if (listener, protocol) == (MUTUAL, "SASL_SSL"):
            properties |= secured.shown(secured.certificate)
        admin = Admin({"bootstrap.servers": address, "group.id": "g", **properties}, structlog.get_logger())
        until(partial(is_unavailable, admin, "speaks another protocol than security.protocol says"), 20, protocol)


def is_unavailable(admin: Admin, words: str) -> bool:
    with pytest.raises(TopicsUnavailable) as told:
        admin.metadata(None, 0.3)
    return words in str(told.value)


def is_told(worker: WorkerCommand, words: str) -> bool:
    answer = worker.ready()
    assert answer.status_code == 503
    return str(answer.json()["detail"]).startswith(words)


def test_a_worker_that_is_not_let_in_says_why_and_loses_nothing(secured: Secured, lab: Lab) -> None:
    """They all wait for Kafka, and end with 0 when asked to. A worker that is let in finds all that there is to do."""
    made = list(changes(SEED, events=40, users=10))
    lab.broker.create_topic(lab.topic, 1)
    lab.produce(made)
    for name, refusal in refusals(secured).items():
        worker = lab.worker("http://127.0.0.1:1/v1", secured.environment(refusal.listener, refusal.properties))
        until(partial(is_told, worker, refusal.words), 60, f"{name}: {refusal.words}")
        until(partial(worker.events, "waiting"), 10, f"{name}: a log line")
        assert worker.stop() == 0, name
        assert any(line["detail"].startswith(refusal.words) for line in worker.events("waiting")), name
        assert {line["level"] for line in worker.lines()} <= {"info", "warning"}, name
        for secret in (PASSWORD, WRONG_PASSWORD):
            assert secret not in worker.log.read_text()
    assert topics.committed_offsets(lab.broker.bootstrap_servers, lab.group, lab.topic) == {}
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, secured.environment(MUTUAL, secured.properties(MUTUAL)))
    lab.until_committed(60)
    assert_equivalent(sandbox, made)
    assert worker.stop() == 0


def test_a_password_that_is_changed_while_the_worker_runs_is_a_problem_until_it_holds_again(
    secured: Secured, lab: Lab
) -> None:
    made = list(changes(SEED, events=200, users=40))
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, secured.environment(SCRAM, secured.properties(SCRAM)))
    lab.produce(made[:100])
    lab.until_committed(60)
    secured.broker.add_user(USER, WRONG_PASSWORD)
    secured.broker.stop()  # a connection that is there stays
    secured.broker.start()
    lab.produce(made[100:])
    until(lambda: "authentication failed" in (worker.status()["problem"] or ""), 60, "the refusal on /status")
    until(lambda: worker.ready().status_code == 503, 60, "not ready")
    secured.broker.add_user(USER, PASSWORD)
    lab.until_committed(90)
    worker.until_ready()
    assert_equivalent(sandbox, made)
    assert lab.dead_letters() == []
    assert worker.stop() == 0
