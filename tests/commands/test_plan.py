"""`plan` through the command line, on a real Kafka."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import RunningBroker, unique_name
from tests.support.processes import TOKEN, Command, until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, encode, phone, schema_directory

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BEGAN_MS = 1_772_366_400_000
SECONDS = 60
BURST = 400


@pytest.fixture(scope="module")
def topic(real_kafka: RunningBroker) -> str:
    """A minute of past traffic on two partitions, and some records that make no call.

    Partition 0 has a change a second of each of five users. Partition 1 has a burst in the 30th second, over the
    limit. Its users change once more a second later.
    """
    name = unique_name("plan")
    real_kafka.create_topic(name, 2)
    producer = ordered_producer(real_kafka.bootstrap_servers)

    def write(partition: int, at_ms: int, user: int, value: bytes | None) -> None:
        producer.produce(name, value, phone(user).encode(), partition=partition, timestamp=at_ms)
        producer.poll(0)

    for second in range(SECONDS):
        for user in range(5):
            change = Change(phone(user), {"loyalty_points": second}, second)
            write(0, BEGAN_MS + second * 1000, user, encode(change))
    for second in (30, 31):
        for user in range(1_000, 1_000 + BURST):
            write(1, BEGAN_MS + second * 1000, user, encode(Change(phone(user), {"loyalty_points": second}, second)))
    write(1, BEGAN_MS + 40_000, 1, None)
    write(1, BEGAN_MS + 41_000, 1, b"no Avro")
    write(1, BEGAN_MS + 42_000, 1, encode(Change("no phone", {"loyalty_points": 1}, 1)))
    assert producer.flush(30) == 0
    return name


@pytest.fixture
def environment(real_kafka: RunningBroker, topic: str, tmp_path: Path) -> dict[str, str]:
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": real_kafka.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": topic,
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{topic}.dead-letter",
        "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(tmp_path / "schemas")),
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
    }


def plan(environment: dict[str, str], folder: Path, *options: str) -> Command:
    command = Command(["plan", "--from", "earliest", *options], folder, environment)
    command.wait()
    return command


def test_it_says_what_each_window_costs(environment: dict[str, str], tmp_path: Path) -> None:
    done = plan(environment, tmp_path, "--json")
    assert done.process.returncode == 0, done.log.read_text()
    found: dict[str, Any] = json.loads(done.output.read_text())
    changes = SECONDS * 5 + 2 * BURST
    assert {name: found[name] for name in ("records", "changes", "users", "span_seconds", "unreadable")} == {
        "records": changes + 3,
        "changes": changes,
        "users": 5 + BURST,
        "span_seconds": SECONDS - 1,
        "unreadable": 1,
    }
    windows = {window["seconds"]: window for window in found["windows"]}
    assert list(windows) == [0, 1, 5, 30, 60, 300]
    assert [window["calls"] for window in windows.values()] == [
        changes,
        changes,  # a change a second later is no longer in the window of a second
        5 * SECONDS // 5 + BURST,
        5 * 2 + BURST,
        5 + BURST,
        5 + BURST,
    ]
    assert all(window["calls"] + window["calls_saved"] == changes for window in windows.values())
    at_once = windows[0]
    assert at_once["calls_per_second"] == {"mean": round(changes / 59, 3), "p99": BURST + 5, "max": BURST + 5}
    assert at_once["share_of_limit"] == pytest.approx(changes / 59 / 150, abs=1e-3)
    assert at_once["calls_late"] > 0
    assert at_once["calls_at_limit"] < changes, "what waits for the limit takes the change of the next second"
    assert 2.0 < at_once["wait_seconds_max"] == at_once["delay_seconds_max"] < 6.0
    assert 300.0 <= windows[300]["delay_seconds_max"] < 304.0
    assert windows[300]["held_bytes_max"] > windows[5]["held_bytes_max"] > 0
    assert found["replicas"]["useful_max"] == 2


def test_it_tells_people_the_same(environment: dict[str, str], tmp_path: Path) -> None:
    done = plan(environment, tmp_path, "--windows", "5,0")
    text = done.output.read_text()
    assert done.process.returncode == 0, done.log.read_text()
    assert "1,103 records with 1,100 changes of 405 users, in 59 s from 2026-03-01T12:00:00Z on" in text
    assert "0 s: the limit holds" in text
    assert "5 s: the limit holds" in text
    assert phone(1) not in text + done.log.read_text()


def test_a_span_is_cut_out_by_times(environment: dict[str, str], tmp_path: Path) -> None:
    span = ("--from", "2026-03-01T12:00:10", "--to", "2026-03-01T12:00:20Z")
    done = plan(environment, tmp_path, *span, "--json", "--windows", "0")
    assert json.loads(done.output.read_text())["changes"] == 50


def test_an_empty_span_is_no_mistake(environment: dict[str, str], tmp_path: Path) -> None:
    done = plan(environment, tmp_path, "--from", "latest", "--plot", "nothing.png")
    assert done.process.returncode == 0, done.log.read_text()
    assert "no change lies in the span" in done.output.read_text()
    assert not (tmp_path / "nothing.png").exists()


def test_it_draws(environment: dict[str, str], tmp_path: Path) -> None:
    for name, begin in (("a.svg", b"<?xml"), ("a.png", b"\x89PNG"), ("a.html", b"<!doctype html>")):
        done = plan(environment, tmp_path, "--plot", name)
        assert done.process.returncode == 0, done.log.read_text()
        drawn = (tmp_path / name).read_bytes()
        assert drawn.startswith(begin)
        assert len(drawn) > 20_000
    assert "1,103 records" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--windows", "5,soon"), "as 0,1,5,30,60,300"),
        (("--windows", "-1"), "as 0,1,5,30,60,300"),
        (("--plot", "plan.gif"), ".svg, .png, .html"),
        (("--plot", "nowhere/plan.svg"), "no such folder"),
        (("--from", "yesterday"), "is no time"),
        (("--from", "-1h", "--to", "-2h"), "is not before"),
        (("--kafka-topics", "no-such-topic"), "no-such-topic"),
    ],
)
def test_bad_usage_is_told(environment: dict[str, str], tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = plan(environment, tmp_path, *options)
    assert done.process.returncode == 2, done.log.read_text()
    assert says in done.log.read_text()
    assert "Traceback" not in done.log.read_text()


def test_without_the_extra_it_says_how_to_install_it(environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from worker.cli import group; group(['plan', '--plot', 'a.svg'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install '.[plot]'" in done.stderr


def test_a_stop_ends_it_and_says_what_is_left(
    environment: dict[str, str], real_kafka: RunningBroker, tmp_path: Path
) -> None:
    """It waits for a schema, so it cannot come to its end."""
    name = unique_name("plan-stop")
    real_kafka.create_topic(name, 1)
    producer = ordered_producer(real_kafka.bootstrap_servers)
    producer.produce(name, encode(Change(phone(1), {"loyalty_points": 1}, 1), schema_id=99))
    assert producer.flush(30) == 0
    forever = {"WORKER_KAFKA__TOPICS": name, "WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "3600"}
    command = Command(["plan"], tmp_path, {**environment, **forever})
    try:
        until(lambda: "reading:" in command.log.read_text(), 60, "it reads, and says so")
        command.signal(signal.SIGTERM)
        assert command.wait(10) == 1
    finally:
        command.kill()
    assert "stopped: 1 of 1 offset not read" in command.log.read_text()
    assert command.output.read_text() == ""
