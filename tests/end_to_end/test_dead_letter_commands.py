"""`dead-letters list`, `show` and `dismiss`, as people use them on a topic with odd records in it."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.end_to_end.conftest import Lab
from tests.support.lossy_broker import LossyBroker
from tests.support.processes import Command
from tests.support.producers import ordered_producer
from tests.support.profiles import SCHEMA_ID, SCHEMAS, Change, encode, phone
from tests.support.registry import Registry

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

UNDECODABLE = 3
FETCH = 1  # Kafka's number of this request

NOWHERE = "http://127.0.0.1:9/v1"
SECRET = "a value that nobody shall see"
USER = phone(1)


def dead_letters(lab: Lab, *arguments: str, exit_status: int = 0) -> Command:
    command = lab.command("dead-letters", *arguments, environment=lab.environment(NOWHERE))
    said = command.log.read_text()
    assert command.process.returncode == exit_status, said
    assert "Traceback" not in said
    if "--values" not in arguments:
        assert not any(secret in said + command.output.read_text() for secret in (SECRET, USER))
    return command


def listed(lab: Lab, *options: str) -> list[dict[str, Any]]:
    command = dead_letters(lab, "list", "--json", *options)
    return [json.loads(line) for line in command.output.read_text().splitlines()]


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Three open letters by a real worker: one of a value with a bad type, one denied, one undecodable."""
    lab.broker.create_topic(lab.topic, 1)
    lab.produce(
        [
            Change(USER, {"": SECRET, "shoe_size": 43}, 1),
            Change(phone(2), {"password": SECRET}, 2),
        ]
    )
    producer = ordered_producer(lab.broker.bootstrap_servers)
    producer.produce(lab.topic, SECRET.encode(), b"key")
    assert producer.flush(30) == 0
    worker = lab.worker(lab.sandbox().base_url)
    lab.until_committed(90)
    assert worker.stop() == 0
    return lab


def test_letters_are_listed_shown_and_dismissed(filled: Lab) -> None:
    lab = filled
    found = {each["reason"]: each for each in listed(lab)}
    assert set(found) == {"invalid_attribute_name", "sensitive_data", "undecodable"}
    assert {each["state"] for each in found.values()} == {"open"}
    assert "user" not in found["sensitive_data"]
    assert found["sensitive_data"]["attributes"][0].keys().isdisjoint({"value", "text"})
    assert found["undecodable"]["sources"][0]["offset"] == 2

    # Each filter alone finds its letter.
    named = found["invalid_attribute_name"]
    for options in (
        ["--reason", "invalid_attribute_name"],
        ["--attribute", ""],
        ["--user", f"phone={USER}"],
        ["--source", f"{lab.topic}/0:0"],
    ):
        assert [each["id"] for each in listed(lab, *options)] == [named["id"]], options
    assert listed(lab, "--until", "-1d") == []
    assert len(listed(lab, "--since", "-1d", "--source", lab.topic)) == 3
    [whole] = listed(lab, "--user", f"phone={USER}", "--values")
    assert (whole["user"]["phone"], whole["attributes"][0]["value"]) == (USER, SECRET)
    summary = json.loads(dead_letters(lab, "list", "--summary", "--json").output.read_text())
    assert summary["letters"] == 3
    assert summary["reasons"] == dict.fromkeys(found, 1)
    assert {"reason": "sensitive_data", "attribute": "password", "letters": 1} in summary["attributes"]

    # A beginning that is unique will do.
    shown = json.loads(dead_letters(lab, "show", named["id"][:20], "--json").output.read_text())
    assert shown == named
    assert SECRET in dead_letters(lab, "show", named["id"], "--values").output.read_text()
    assert "no such letter" in dead_letters(lab, "show", "none", exit_status=1).log.read_text()
    assert "the beginning of it" in dead_letters(lab, "show", "", exit_status=2).log.read_text()

    assert "at least one filter" in dead_letters(lab, "dismiss", exit_status=2).log.read_text()
    options = ["--reason", "sensitive_data", "--reason", "undecodable"]
    before = lab.dead_letters()
    dry = json.loads(dead_letters(lab, "dismiss", *options, "--dry-run", "--json").output.read_text())
    assert dry == {"letters": 2, "dismissed": 0, "dry_run": True}
    assert lab.dead_letters() == before
    done = json.loads(dead_letters(lab, "dismiss", *options, "--json").output.read_text())
    assert done == {"letters": 2, "dismissed": 2, "dry_run": False}
    written = lab.dead_letters()[len(before) :]
    assert {(each["id"], each["reason"], each["detail"]) for each in written} == {
        (found[reason]["id"], "resolved", "dismissed") for reason in ("sensitive_data", "undecodable")
    }
    keys = {each["id"]: each["record_key"] for each in before}
    assert all(each["record_key"] == keys[each["id"]] and each["user"] is None for each in written)
    assert [each["id"] for each in listed(lab)] == [named["id"]]
    assert {each["id"]: each["state"] for each in listed(lab, "--all")}[found["undecodable"]["id"]] == "dismissed"

    # Once more: nothing is left to do, and nothing is written.
    assert "0 letters dismissed" in dead_letters(lab, "dismiss", *options).output.read_text()
    assert len(lab.dead_letters()) == len(before) + 2


@pytest.mark.long
def test_odd_records_are_told_and_passed_over(filled: Lab) -> None:
    """Garbage, a tombstone, a record of another schema, one of an unknown schema, and a letter written twice."""
    lab = filled
    producer = ordered_producer(lab.broker.bootstrap_servers)
    unknown = b"\0" + (99).to_bytes(4, "big") + b"x"
    other = encode(Change(USER, {"shoe_size": 43}, 9), SCHEMA_ID)
    for value in (SECRET.encode(), None, unknown, other, b"\0\0\0\0\0" + b"\xff" * 40):
        producer.produce(lab.dead_letter_topic, value, b"odd")
    assert producer.flush(30) == 0
    command = dead_letters(lab, "list", "--json")
    assert len(command.output.read_text().splitlines()) == 3
    said = command.log.read_text()
    for why in ("it has no value", "magic byte", "schema id is unknown", "does not fit the schema of dead letters"):
        assert why in said, said
    assert f"{lab.dead_letter_topic}/0:3" in said


def test_a_topic_that_does_not_exist_is_named(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 1)
    command = dead_letters(lab, "list", exit_status=2)
    assert lab.dead_letter_topic in command.log.read_text()
    assert "is no source" in dead_letters(lab, "list", "--source", "/", exit_status=2).log.read_text()
    assert "a user is phone=" in dead_letters(lab, "list", "--user", "nobody", exit_status=2).log.read_text()


def _undecodable(lab: Lab, extra: Mapping[str, str]) -> dict[str, str]:
    """Letters by a worker with these settings; then those of the commands."""
    lab.broker.create_topic(lab.topic, 1)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for _ in range(UNDECODABLE):
        producer.produce(lab.topic, SECRET.encode(), b"key")
    assert producer.flush(30) == 0
    worker = lab.worker(NOWHERE, extra)
    lab.until_committed(90)
    assert worker.stop() == 0
    environment = lab.environment(NOWHERE, extra)
    return {name: value for name, value in environment.items() if value}


def _all_dismissed(lab: Lab, environment: Mapping[str, str]) -> None:
    dismissed = lab.command("dead-letters", "dismiss", "--since", "earliest", "--json", environment=environment)
    assert json.loads(dismissed.output.read_text())["dismissed"] == UNDECODABLE, dismissed.log.read_text()
    left = lab.command("dead-letters", "list", "--summary", "--json", environment=environment)
    assert json.loads(left.output.read_text())["letters"] == 0, left.log.read_text()
    assert left.log.read_text() == ""


@pytest.mark.registry
def test_letters_whose_schema_is_in_a_registry(lab: Lab, registry: Registry) -> None:
    extra = {"WORKER_SCHEMAS__DIRECTORY": "", "WORKER_SCHEMAS__REGISTRY_URL": registry.url}
    _all_dismissed(lab, _undecodable(lab, extra))


@pytest.mark.long
def test_letters_without_framing(lab: Lab) -> None:
    schema: Path = SCHEMAS / "profile_changed.avsc"
    extra = {
        "WORKER_SCHEMAS__DIRECTORY": "",
        "WORKER_SCHEMAS__FRAMING": "none",
        "WORKER_SCHEMAS__WRITER_SCHEMA": str(schema),
    }
    _all_dismissed(lab, _undecodable(lab, extra))


@pytest.mark.long
@pytest.mark.parametrize("subcommand", ["list", "dismiss"])
def test_a_signal_ends_it_in_order(lossy_broker: LossyBroker, tmp_path: Path, subcommand: str) -> None:
    """No record comes, so it waits. It ends by the signal, says what is left, and dismisses nothing."""
    lab = Lab(lossy_broker, tmp_path)
    environment = _undecodable(lab, {}) | {"WORKER_KAFKA__BOOTSTRAP_SERVERS": lossy_broker.lossy}
    fetched = Event()

    def loses(api_key: int) -> bool:
        if api_key == FETCH:
            fetched.set()
        return api_key == FETCH

    lossy_broker.loses = loses
    command = Command(["dead-letters", subcommand, "--since", "earliest"], tmp_path / subcommand, environment)
    try:
        assert fetched.wait(60)
        command.signal(signal.SIGTERM)
        status = command.wait(10)
    finally:
        command.kill()
        lab.end()
    said = command.log.read_text()
    assert (status, "stopped before the end of the topic" in said, "Traceback" in said) == (1, True, False), said
    assert {each["reason"] for each in lab.dead_letters()} == {"undecodable"}
