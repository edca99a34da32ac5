"""The memory budget: the process stays small with a large backlog, with many changes, and with large records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import WorkerCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BUDGET_MEBIBYTES = 64
RESIDENT_MEBIBYTES_MAX = 250


def _resident_mebibytes_max(worker: WorkerCommand) -> int:
    """The most that the process ever held, as the kernel counts it."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def _budget(mebibytes: int) -> dict[str, str]:
    return {
        "WORKER_WINDOW__MAX_BYTES": str(mebibytes * 1024 * 1024),
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
    assert not worker.events("partitions lost")


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
