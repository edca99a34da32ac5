"""The whole job by the command line: a real Kafka, the sandbox, and workers that start, stop and are killed."""

from __future__ import annotations

import signal
import time

import pytest

from tests.end_to_end.conftest import SHORT_SESSION, Lab, assert_equivalent
from tests.support.processes import until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 20_240_601


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_three_workers_lose_nothing_though_one_is_stopped_and_one_is_killed(lab: Lab, protocol: str) -> None:
    """20,000 events of 1,000 users: each user ends with the last values, all is committed, nothing is dead-lettered."""
    made = list(changes(SEED, events=20_000, users=1_000))
    lab.broker.create_topic(lab.topic, 6)
    sandbox = lab.sandbox("--record")
    # KIP-848 takes its session time-out from the broker; the classic protocol keeps the lab's.
    extra = {"WORKER_KAFKA__PROPERTIES": '{"group.protocol": "consumer"}'} if protocol == "consumer" else SHORT_SESSION
    extra = {**extra, "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "2"}

    stopped, killed = lab.worker(sandbox.base_url, extra), lab.worker(sandbox.base_url, extra)
    lab.produce(made[:8_000])
    until(lambda: sandbox.stats()["upserts"] > 200, 60, "deliveries")
    late = lab.worker(sandbox.base_url, extra)
    until(lambda: late.status()["partitions"], 60, "the late worker has partitions")
    lab.produce(made[8_000:14_000])
    until(lambda: late.status()["totals"]["calls"] > 20, 60, "the late worker makes calls")
    assert stopped.stop() == 0
    lab.produce(made[14_000:])
    until(lambda: killed.status()["in_flight"] or killed.status()["open_entries"], 60, "work in the worker to kill")
    killed.signal(signal.SIGKILL)

    lab.until_committed(150)
    assert_equivalent(sandbox, made)
    assert lab.dead_letters() == []
    assert late.stop() == 0
    stats = sandbox.stats()
    assert stats["overlaps"] == 0
    assert stats["upserts"] < len(made) / 2


def test_a_second_signal_does_not_cut_the_drain(lab: Lab) -> None:
    """Open entries are delivered and committed after the first SIGTERM, however many more come."""
    made = list(changes(SEED, events=600, users=300))
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, {"WORKER_WINDOW__SECONDS": "60"})
    lab.produce(made)
    until(lambda: worker.status()["totals"]["records"] == len(made), 40, "all records are read")
    assert sandbox.stats()["requests"] == 0, "a call was made before the window's end"
    started = time.monotonic()
    for _ in range(3):
        worker.signal(signal.SIGTERM)
        until(lambda: worker.events("stopping"), 5, "stopping")
    assert worker.wait(30) == 0
    assert time.monotonic() - started > 1, "300 calls at 150 a second must take longer"
    assert_equivalent(sandbox, made)
    assert lab.all_committed()
    assert len(worker.events("stopping")) == 1
