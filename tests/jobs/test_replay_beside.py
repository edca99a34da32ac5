"""A replay beside three live workers: what it may take of the limit, and what nobody may ever see."""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.jobs.replaying import (
    CONCURRENCY,
    LIMIT,
    PARTITIONS,
    Fleet,
    Traffic,
    assert_never_back,
    begin,
    old_changes,
    replayed,
    result,
)
from tests.support.brokers import RunningBroker
from tests.support.processes import Command
from tests.support.topics import end_offsets

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

RAMP_SECONDS = 20
"""From a tenth of the limit to nine tenths are 16 steps, one a second."""
DEFAULT_CONCURRENCY = {"WORKER_ATTENTIVE__CONCURRENCY": "32"}


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    yield lab
    lab.end()


def test_beside_idle_workers_it_takes_nearly_all_of_the_limit(lab: Lab) -> None:
    """Most seconds after the ramp have at least 85 % of the limit in them, and hardly a call is too many."""
    made = old_changes(4_500)
    lab.produce(made)
    sandbox = lab.sandbox("--record")
    fleet = Fleet(lab, sandbox, random.Random(0))
    job = begin(lab, sandbox, "--from", "earliest", **DEFAULT_CONCURRENCY)
    fleet.turn(job, churn=False)
    done = result(job)
    fleet.end()
    assert_equivalent(sandbox, made)
    assert done["delivered"] == len(made)
    counts = [row[1] for row in sandbox.stats()["per_second"]]
    steady = counts[RAMP_SECONDS:-2]
    assert len(steady) >= 8, counts
    assert statistics.median(steady) >= 0.85 * LIMIT, counts
    assert sandbox.stats()["by_status"].get("429", 0) <= 0.01 * len(made)


@pytest.mark.parametrize("seed", [1, 2])
def test_beside_workers_that_come_and_go_nobody_sees_an_older_value_and_live_calls_have_room(
    lab: Lab, seed: int
) -> None:
    rng = random.Random(seed)
    sandbox = lab.sandbox("--record")
    old = old_changes(3_000)
    lab.produce(old)
    fleet = Fleet(lab, sandbox, rng)
    with Traffic(lab, old, rng, users=3_000, per_second=40) as traffic:
        job = begin(lab, sandbox, "--from", "earliest", **DEFAULT_CONCURRENCY)
        fleet.turn(job)
    result(job)
    fleet.end()
    assert_equivalent(sandbox, traffic.made)
    assert_never_back(sandbox)
    live = fleet.replies()
    assert fleet.killed + fleet.stopped >= 3
    assert live["429"] < 0.01 * live.total(), (seed, live, sandbox.stats()["per_second"])


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_in_several_passes_beside_them_it_repeats_only_what_was_in_the_air(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    sandbox = lab.sandbox("--record")
    old = old_changes(1_500)
    lab.produce(old)
    fleet = Fleet(lab, sandbox, rng)
    ends = end_offsets(lab.broker.bootstrap_servers, lab.topic)  # else a further start has the new changes in its range
    stops = ",".join(f"{partition}:{end}" for partition, end in ends.items())
    command = ("--from", "earliest", "--to-offsets", stops, "--rate", "100")
    small, kills, told = {"WORKER_WINDOW__MAX_BYTES": "700000"}, 0, ""
    with Traffic(lab, old, rng, users=3_000, per_second=25) as traffic:
        for _ in range(6):
            job = begin(lab, sandbox, *command, **small)
            kills += end_at_random(job, rng)
            told += job.log.read_text()
            fleet.turn_once()
        job = begin(lab, sandbox, *command, **small)
        fleet.turn(job)
    assert result(job)["state"] == "finished"
    calls = replayed(sandbox)
    again = result(begin(lab, sandbox, *command, **small))
    fleet.end()
    assert "passes over the topic are left" in told + job.log.read_text()
    assert_equivalent(sandbox, traffic.made)
    assert_never_back(sandbox)
    assert calls.total() - len(calls) <= kills * CONCURRENCY, f"seed {seed}"
    assert (again["state"], again["calls"]) == ("finished", 0)
    assert replayed(sandbox) == calls


def end_at_random(job: Command, rng: random.Random) -> bool:
    """Ends it at a random moment, by SIGKILL or SIGTERM. Returns whether it was killed."""
    try:
        job.wait(rng.uniform(0.5, 8))
    except subprocess.TimeoutExpired:
        if rng.random() < 0.6:
            job.kill()
            return True
        job.signal(signal.SIGTERM)
        assert job.wait() == 1, job.log.read_text()
        said = job.output.read_text()  # nothing, if it had not begun
        assert not said or json.loads(said)["state"] == "stopped"
    return False
