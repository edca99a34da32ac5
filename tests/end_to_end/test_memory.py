"""The memory budget: the process stays small with a large backlog, with many changes, and with large records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.core.test_held_memory import WRITER, value_of
from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import WorkerCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BUDGET_MEBIBYTES = 64
STORM_BUDGET_MEBIBYTES = 16
BESIDE_MEBIBYTES = 150
"""What the process may take beside its budget: the interpreter, and what librdkafka has fetched."""
RESIDENT_MEBIBYTES_MAX = BUDGET_MEBIBYTES + BESIDE_MEBIBYTES
ODD_SCHEMA_ID = 8
MEBIBYTE = 1024 * 1024


def _resident_mebibytes_max(worker: WorkerCommand) -> int:
    """The most that the process ever held, as the kernel counts it."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def _budget(mebibytes: int) -> dict[str, str]:
    return {
        "WORKER_WINDOW__MAX_BYTES": str(mebibytes * MEBIBYTE),
        "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "10000",
    }


def test_a_backlog_larger_than_the_budget_waits_in_kafka(lab: Lab) -> None:
    """200,000 users change and the destination is down: partitions pause, the worker stays in its group and small."""
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--limit", "0")
    sandbox.faults([{"status": 503}])
    lab.produce(Change(phone(user), {"loyalty_points": user, "store": "North"}, user) for user in range(200_000))
    worker = lab.worker(sandbox.base_url, _budget(BUDGET_MEBIBYTES))
    until(
        lambda: all(of["paused"] for of in worker.status()["partitions"]) and worker.status()["partitions"],
        90,
        "paused",
    )
    read = worker.status()["totals"]["records"]
    assert read < 200_000
    until(lambda: worker.status()["halt"], 30, "halted")
    assert _resident_mebibytes_max(worker) < RESIDENT_MEBIBYTES_MAX
    sandbox.faults([])
    until(lambda: worker.status()["totals"]["records"] > read + 10_000, 120, "it reads on")
    assert _resident_mebibytes_max(worker) < RESIDENT_MEBIBYTES_MAX
    assert len(worker.status()["partitions"]) == 4
    assert not worker.events("partitions_lost")


def test_users_with_four_large_changes_each_fit(lab: Lab) -> None:
    """400,000 records of 600 bytes, 100,000 users with a value of its own in each change, and the destination down."""
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--limit", "0")
    sandbox.faults([{"status": 503}])
    filler = "x" * 520
    lab.produce(Change(phone(number // 4), {"note": f"{number:07}{filler}"}, number) for number in range(400_000))
    worker = lab.worker(sandbox.base_url, _budget(BUDGET_MEBIBYTES))
    until(
        lambda: all(of["paused"] for of in worker.status()["partitions"]) and worker.status()["partitions"],
        90,
        "paused",
    )
    until(lambda: worker.status()["halt"], 30, "halted")
    assert _resident_mebibytes_max(worker) < RESIDENT_MEBIBYTES_MAX


@pytest.mark.parametrize(
    "odd",
    [
        lambda number: value_of(number, {"a": number}, user={"phone": f"{number}" + "5" * 300_000}),
        lambda number: value_of(number, {f"{number}" + "n" * 300_000: 1}),
        lambda number: value_of(number, {"a": [{"k": number}] * 1_500}),
        lambda number: b"\xff" * 300_000 + b"%d" % number,
    ],
    ids=["a phone of 300 kB", "a name of 300 kB", "an array of 1,500 maps", "undecodable"],
)
def test_a_storm_of_large_unusable_records_fits(lab: Lab, odd: Callable[[int], bytes]) -> None:
    """1,500 records whose dead letters are withheld. They compress well, so one fetch brings many."""
    (lab.schemas / f"{ODD_SCHEMA_ID}.avsc").write_text(json.dumps(WRITER))
    lab.broker.create_topic(lab.topic, 4)
    producer = Producer(
        {"bootstrap.servers": lab.broker.bootstrap_servers, "compression.type": "lz4", "linger.ms": 20, "log_level": 2}
    )
    for number in range(1_500):
        producer.produce(lab.topic, b"\0" + ODD_SCHEMA_ID.to_bytes(4, "big") + odd(number), b"%d" % number)
        producer.poll(0)
    assert producer.flush(60) == 0
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, _budget(STORM_BUDGET_MEBIBYTES))

    def is_full_or_at_the_end() -> bool:
        status = worker.status()
        full = all(of["paused"] for of in status["partitions"])
        return bool(status["halt"]) and (full or status["totals"]["records"] == 1_500)

    until(is_full_or_at_the_end, 60, "full, or at the end")
    assert worker.ready().json()["reason"] == "rejection_storm"
    assert worker.status()["held_bytes"] < 2 * STORM_BUDGET_MEBIBYTES * MEBIBYTE
    assert _resident_mebibytes_max(worker) < STORM_BUDGET_MEBIBYTES + BESIDE_MEBIBYTES


def test_one_user_with_very_many_changes_fits(lab: Lab) -> None:
    """300,000 changes of one user, all with different values: the last one is delivered."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox("--limit", "0")
    made = [Change(phone(1), {"loyalty_points": number}, number) for number in range(300_000)]
    lab.produce(made)
    worker = lab.worker(sandbox.base_url, _budget(16))
    lab.until_committed(150)
    assert_equivalent(sandbox, made[-1:])
    assert _resident_mebibytes_max(worker) < RESIDENT_MEBIBYTES_MAX


def test_large_records_fit(lab: Lab) -> None:
    """Twenty records of nearly a megabyte, with 900 attributes each, and a budget of 16 MiB."""
    lab.broker.create_topic(lab.topic, 1, {"max.message.bytes": str(8 * 1024 * 1024)})
    sandbox = lab.sandbox("--limit", "0")
    filler = {f"attribute_{number:04}": "x" * 1_000 for number in range(900)}
    made = [Change(phone(number), {**filler, "number": number}, number) for number in range(20)]
    lab.produce(made)
    worker = lab.worker(sandbox.base_url, _budget(16))
    lab.until_committed(150)
    assert_equivalent(sandbox, made)
    assert _resident_mebibytes_max(worker) < RESIDENT_MEBIBYTES_MAX
