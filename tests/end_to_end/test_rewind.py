"""`rewind` moves the offsets of a stopped group, and of no other; `run` then catches up."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.end_to_end.conftest import SESSION_MS, Lab, assert_equivalent
from tests.support.processes import until
from tests.support.producers import ordered_producer
from tests.support.profiles import changes
from tests.support.topics import committed_offsets, end_offsets

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

NOWHERE = "http://127.0.0.1:9/v1"
BAD = 3
PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def properties(**given: object) -> dict[str, str]:
    named = {name.replace("_", "."): value for name, value in given.items()}
    return {"WORKER_KAFKA__PROPERTIES": json.dumps(named)}


def rewind(lab: Lab, *options: str, extra: Mapping[str, str] | None = None, exit_status: int = 0) -> str:
    """What it says: stdout, or stderr where it fails."""
    command = lab.command("rewind", *options, environment=lab.environment(NOWHERE, extra))
    said = command.log.read_text()
    assert command.process.returncode == exit_status, said
    assert "Traceback" not in said
    return command.output.read_text() if exit_status == 0 else said


def rewound(lab: Lab, *options: str, extra: Mapping[str, str] | None = None) -> dict[int, dict[str, Any]]:
    document = json.loads(rewind(lab, *options, "--json", extra=extra))
    return {each["partition"]: each for each in document["partitions"]}


def committed(lab: Lab) -> dict[int, int]:
    return committed_offsets(lab.broker.bootstrap_servers, lab.group, lab.topic)


def notes(lab: Lab, partitions: int) -> list[str]:
    reader = Consumer({"bootstrap.servers": lab.broker.bootstrap_servers, "group.id": lab.group, "log_level": 2})
    try:
        found = reader.committed([TopicPartition(lab.topic, number) for number in range(partitions)], timeout=10)
    finally:
        reader.close()
    return [each.metadata or "" for each in found]


@PROTOCOLS
def test_a_stopped_group_reads_again_from_where_it_was_moved_to(lab: Lab, protocol: str) -> None:
    """Its notes of spent letters stay beside the offsets: else each rewind would begin a flood anew."""
    extra = properties(group_protocol=protocol)
    lab.broker.create_topic(lab.topic, 2)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for _ in range(BAD):
        producer.produce(lab.topic, b"bad", b"key", partition=0)
    assert producer.flush(30) == 0
    made = list(changes(7, events=60, users=20))
    lab.produce(made)
    sandbox = lab.sandbox()
    first = lab.worker(sandbox.base_url, extra)
    lab.until_committed(60)

    said = rewind(lab, "--to", "earliest", extra=extra, exit_status=1)
    assert f"attribute-worker-{socket.gethostname()} at 127.0.0.1" in said
    assert "Stop every worker of the group" in said
    shown = rewound(lab, "--to", "earliest", "--dry-run", extra=extra)
    assert {number: each["before"] for number, each in shown.items()} == committed(lab)

    assert first.stop() == 0
    until(
        lambda: not json.loads(rewind(lab, "--to", "earliest", "--dry-run", "--json", extra=extra))["members"],
        30,
        "gone",
    )
    ends, noted = end_offsets(lab.broker.bootstrap_servers, lab.topic), notes(lab, 2)
    assert committed(lab) == ends, "neither the refusal nor the dry run moved anything"
    assert any(noted)
    moved = rewound(lab, "--to", "earliest", extra=extra)
    assert {number: (each["before"], each["after"]) for number, each in moved.items()} == {
        0: (ends[0], 0),
        1: (ends[1], 0),
    }
    assert committed(lab) == {0: 0, 1: 0}
    assert notes(lab, 2) == noted

    calls = sandbox.stats()["requests"]
    second = lab.worker(sandbox.base_url, extra)
    lab.until_committed(60)
    assert second.stop() == 0
    assert sandbox.stats()["requests"] > calls
    assert_equivalent(sandbox, made)


@pytest.mark.long
def test_a_static_member_that_is_away_counts_until_its_session_ends(lab: Lab) -> None:
    extra = properties(group_instance_id="worker-0", session_timeout_ms=SESSION_MS, heartbeat_interval_ms=1000)
    lab.broker.create_topic(lab.topic, 1)
    lab.produce(changes(8, events=5, users=5))
    worker = lab.worker(lab.sandbox().base_url, extra)
    lab.until_committed(60)
    assert worker.stop() == 0

    assert "static member worker-0" in rewind(lab, "--to", "earliest", extra=extra, exit_status=1)
    assert committed(lab) == {0: 5}
    until(
        lambda: not json.loads(rewind(lab, "--to", "earliest", "--dry-run", "--json", extra=extra))["members"],
        SESSION_MS / 1000 + 30,
        "its session ends",
    )
    rewind(lab, "--to", "earliest", extra=extra)
    assert committed(lab) == {0: 0}


@pytest.mark.long
@PROTOCOLS
def test_a_group_that_never_committed_begins_where_it_is_told(lab: Lab, protocol: str) -> None:
    extra = properties(group_protocol=protocol)
    lab.broker.create_topic(lab.topic, 2)
    made = list(changes(9, events=40, users=10))
    lab.produce(made)
    ends = end_offsets(lab.broker.bootstrap_servers, lab.topic)

    moved = rewound(lab, "--to", "latest", "--partition", "1", extra=extra)
    assert moved == {
        1: {
            "topic": lab.topic,
            "partition": 1,
            "before": None,
            "after": ends[1],
            "earliest": 0,
            "shortened": False,
            "passed_over": ends[1],
        }
    }
    assert committed(lab) == {1: ends[1]}
    rewind(lab, "--to-offsets", "1:0", extra=extra)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, extra)
    lab.until_committed(60)
    assert worker.stop() == 0
    assert_equivalent(sandbox, made)


@pytest.mark.long
def test_what_retention_removed_is_said(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 1)
    lab.produce(changes(10, events=10, users=10))
    [deleted] = lab.broker.admin.delete_records([TopicPartition(lab.topic, 0, 4)]).values()
    deleted.result(30)
    [part] = rewound(lab, "--to-offsets", "0:2").values()
    assert (part["after"], part["earliest"], part["shortened"]) == (4, 4, True)
    command = lab.command("rewind", "--to-offsets", "0:2", environment=lab.environment(NOWHERE))
    assert "retention deleted" in command.log.read_text()
    assert "as it is; earliest" in command.output.read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "either --to WHEN or --to-offsets"),
        (["--to", "earliest", "--to-offsets", "0:1"], "either --to WHEN or --to-offsets"),
        (["--to", "yesterday"], "is no time"),
        (["--to-offsets", "0:11"], "lies behind the log's end"),
        (["--to-offsets", "5:1"], "is no partition"),
        (["--to", "earliest", "--topic", "other"], "is not among the topics"),
        (["--to", "earliest", "--partition", "7"], "there is no partition 7"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(lab: Lab, options: list[str], expected: str) -> None:
    lab.broker.create_topic(lab.topic, 1)
    lab.produce(changes(11, events=10, users=10))
    assert expected in rewind(lab, *options, exit_status=2)
    assert committed(lab) == {}
