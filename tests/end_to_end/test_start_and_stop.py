"""Starts that cannot succeed and stops that leave work: what the log says, and the exit status."""

from __future__ import annotations

import json
import signal

import pytest

from tests.end_to_end.conftest import SESSION_MS, Lab
from tests.support.ports import reserved_port
from tests.support.processes import until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

UNUSABLE = {
    "an unknown property": {"no.such.property": "1"},
    "a value out of range": {"fetch.wait.max.ms": "-5"},
    "a certificate file that is not there": {"security.protocol": "ssl", "ssl.ca.location": "/nonexistent"},
    "a callback": {"oauth_cb": "name"},
    "a dictionary of old": {"default.topic.config": "{}"},
}


def test_a_stop_that_leaves_work_says_so_by_its_status(lab: Lab) -> None:
    """The destination is down, so nothing can be drained: status 1, and what is left is counted and not committed."""
    lab.broker.create_topic(lab.topic, 1)
    worker = lab.worker(f"http://127.0.0.1:{reserved_port()}/v1")
    worker.until_ready()
    lab.produce(changes(3, events=40, users=20))
    until(lambda: worker.status()["state"] == "halted", 40, "halted")
    assert worker.stop() == 1
    [left] = worker.events("stopped_with_work_left")
    assert left["left"] == worker.events("drain_cut")[-1]["left"] > 0
    assert not lab.all_committed()


def test_a_start_without_brokers_waits_and_ends_at_a_signal(lab: Lab) -> None:
    """It says once what it waits for and since when; it is not ready; SIGTERM ends it with status 0."""
    nobody = f"127.0.0.1:{reserved_port()}"
    worker = lab.worker("http://127.0.0.1:1/v1", {"WORKER_KAFKA__BOOTSTRAP_SERVERS": nobody})
    until(lambda: worker.url and worker.events("waiting"), 30, "says what it waits for")
    [waiting] = worker.events("waiting")
    assert waiting["reason"] == "kafka"
    assert waiting["since"] <= waiting["timestamp"]
    assert worker.ready().status_code == 503
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0


@pytest.mark.parametrize("kind", UNUSABLE)
def test_properties_that_librdkafka_refuses_are_a_configuration_error(lab: Lab, kind: str) -> None:
    """Status 2 and one line of the log that names the property, not a traceback."""
    worker = lab.worker("http://127.0.0.1:1/v1", {"WORKER_KAFKA__PROPERTIES": json.dumps(UNUSABLE[kind])})
    assert worker.wait(30) == 2
    (line,) = worker.lines()
    assert line["event"] == "stopped"
    assert line["error"].startswith("The configuration has an error:")
    assert "WORKER_KAFKA__PROPERTIES: " in line["error"]


@pytest.mark.parametrize("name", ["heartbeat.interval.ms", "session.timeout.ms"])
def test_a_time_that_is_no_number_is_a_configuration_error(lab: Lab, name: str) -> None:
    worker = lab.worker("http://127.0.0.1:1/v1", {"WORKER_KAFKA__PROPERTIES": json.dumps({name: "abc"})})
    assert worker.wait(30) == 2
    log = worker.log.read_text()
    assert f"WORKER_KAFKA__PROPERTIES: {name}: must be a whole number" in log
    assert "Traceback" not in log


def test_a_static_member_ends_when_another_takes_its_name(lab: Lab) -> None:
    """Two processes have one `group.instance.id`: the first is fenced for ever, and must not go on looking healthy."""
    lab.broker.create_topic(lab.topic, 1)
    properties = {"group.instance.id": "one", "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 1000}
    static = {"WORKER_KAFKA__PROPERTIES": json.dumps(properties)}
    first = lab.worker("http://127.0.0.1:1/v1", static)
    first.until_ready()
    second = lab.worker("http://127.0.0.1:1/v1", static)
    second.until_ready()
    assert first.wait(30) == 1
    assert "fenced" in first.events("stopped")[-1]["error"]
    assert second.ready().status_code == 200
