"""What `plan` says of a topic is what real workers then did with it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import TypeAlias

import pytest

from tests.end_to_end.conftest import Lab
from tests.support.processes import SandboxCommand, WorkerCommand, until
from tests.support.profiles import Change, phone, produce

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

Shape: TypeAlias = Callable[[random.Random], Iterator[tuple[float, int]]]

SECONDS = 18.0
WINDOW = 5.0
PARTITIONS = 4


def steady(rng: random.Random) -> Iterator[tuple[float, int]]:
    """30 changes a second, of users who are all alike."""
    for number in range(int(SECONDS * 30)):
        yield number / 30, rng.randrange(60)


def bursty(rng: random.Random) -> Iterator[tuple[float, int]]:
    """A burst now and then, and nothing between. No two bursts lie a window apart."""
    for burst in range(6):
        for _ in range(70):
            yield burst * 3.3, rng.randrange(90)


def skewed(rng: random.Random) -> Iterator[tuple[float, int]]:
    """30 changes a second; the n-th user has an n-th of the first one's share (Zipf)."""
    weights = list(accumulate(1 / rank for rank in range(1, 301)))
    for number in range(int(SECONDS * 30)):
        yield number / 30, rng.choices(range(300), cum_weights=weights)[0]


@pytest.mark.parametrize("shape", [steady, bursty, skewed])
def test_a_plan_agrees_with_the_calls_of_real_workers(lab: Lab, shape: Shape) -> None:
    """Two workers read the topic. The plan is exact for the one without a window, and within 10 % for the other."""
    seed = random.randrange(2**32)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    sandboxes = [lab.sandbox("--limit", "0") for _ in range(2)]
    workers = [
        lab.worker(
            sandbox.base_url,
            {"WORKER_WINDOW__SECONDS": str(window), "WORKER_KAFKA__GROUP_ID": f"{lab.group}-{window:g}"},
        )
        for sandbox, window in zip(sandboxes, (0.0, WINDOW), strict=True)
    ]
    for worker in workers:
        until(partial(_reads_all, worker), 60, "it reads all partitions")
    changes = _produce_in_time(lab, list(shape(random.Random(seed))), sandboxes[0])
    for worker in workers:
        until(partial(_is_done, worker, changes), 60, "all is delivered")
    at_once, coalescing = (worker.status()["totals"]["calls"] for worker in workers)

    done = lab.command(
        "plan",
        "--from",
        "earliest",
        "--windows",
        f"0,{WINDOW:g}",
        "--json",
        environment=lab.environment("http://[::1]:9/v1"),
    )
    assert done.process.returncode == 0, done.log.read_text()
    found = json.loads(done.output.read_text())
    planned = {window["seconds"]: window["calls"] for window in found["windows"]}
    said = f"seed {seed}; calls {at_once} and {coalescing}, planned {planned}"
    assert found["changes"] == found["records"] == changes
    assert planned[0] == at_once == changes, said
    assert planned[WINDOW] == pytest.approx(coalescing, rel=0.10), said
    assert coalescing < 0.8 * changes, "the window must have something to save"


def _produce_in_time(lab: Lab, traffic: list[tuple[float, int]], at_once: SandboxCommand) -> int:
    """Writes each change at its time.

    A user's change waits until the one before it was called without a window: while a call is under way, that worker
    would coalesce as well.
    """
    wait, began = threading.Event(), time.monotonic()
    called: set[int] = set()
    batch: list[Change] = []

    def write() -> None:
        produce(lab.broker.bootstrap_servers, lab.topic, batch)
        batch.clear()

    for number, (at, user) in enumerate(traffic):
        if at > time.monotonic() - began or user in called:
            write()
        wait.wait(max(0.0, began + at - time.monotonic()))
        if user in called:
            until(partial(_has_called, at_once, number), 30, "all are called", pause=0.01)
            called.clear()
        called.add(user)
        batch.append(Change(phone(user), {"loyalty_points": number}, number))
    write()
    return len(traffic)


def _reads_all(worker: WorkerCommand) -> bool:
    return len(worker.status()["partitions"]) == PARTITIONS


def _is_done(worker: WorkerCommand, changes: int) -> bool:
    status = worker.status()
    return bool(status["totals"]["changes"] == changes and status["open_entries"] == 0)


def _has_called(sandbox: SandboxCommand, requests: int) -> bool:
    return bool(sandbox.stats()["requests"] == requests)
