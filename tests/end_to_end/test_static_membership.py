"""Workers with `group.instance.id`, as in the chart's StatefulSet: a rolling restart moves no partitions."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.end_to_end.conftest import Lab
from tests.support.processes import WorkerCommand, until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PODS = ("worker-0", "worker-1", "worker-2")


def start(lab: Lab, pod: str, base_url: str) -> WorkerCommand:
    """A worker in a pod of that name. A pod of a StatefulSet that is replaced has the same name."""
    return lab.worker(base_url, {"WORKER_KAFKA__PROPERTIES": json.dumps({"group.instance.id": pod})})


def held(worker: WorkerCommand) -> set[int]:
    return {each["partition"] for each in worker.status()["partitions"]}


def moves(workers: Iterable[WorkerCommand]) -> int:
    """How often partitions came or went."""
    return sum(len(worker.events(name)) for worker in workers for name in ("assigned", "revoked", "lost"))


def test_a_rolling_restart_moves_no_partitions(lab: Lab) -> None:
    sandbox = lab.sandbox()
    lab.broker.create_topic(lab.topic, 2 * len(PODS))
    workers = {pod: start(lab, pod, sandbox.base_url) for pod in PODS}
    for worker in workers.values():
        until(lambda: worker.events("serving"), 60, "it serves")  # noqa: B023 - called at once
    until(lambda: [len(held(worker)) for worker in workers.values()] == [2, 2, 2], 60, "each has its share")
    before = {pod: held(worker) for pod, worker in workers.items()}
    lab.produce(changes(11, events=300, users=60))

    for pod in PODS:
        others = [worker for name, worker in workers.items() if name != pod]
        moved = moves(others)
        assert workers[pod].stop() == 0
        workers[pod] = start(lab, pod, sandbox.base_url)
        until(lambda: workers[pod].events("serving"), 60, "it serves")  # noqa: B023 - called at once
        until(lambda: {name: held(worker) for name, worker in workers.items()} == before, 60, "all as before")
        assert moves(others) == moved, "the others kept theirs"

    lab.until_committed(60)
    assert sandbox.stats()["users"] == 60
