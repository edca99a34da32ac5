"""A replay through the command line, on a real Kafka."""

from __future__ import annotations

import random
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.jobs.replaying import CONCURRENCY, begin, result
from tests.support.brokers import LocalBroker, RunningBroker
from tests.support.processes import Command, until
from tests.support.profiles import Change, changes, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 3
BUSY_SECONDS = 5  # a busy machine may add


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    yield lab
    lab.end()


def test_a_whole_topic_is_sent_once_and_a_further_start_makes_no_call(lab: Lab) -> None:
    made = list(changes(1, events=2_000, users=300))
    lab.produce(made)
    sandbox = lab.sandbox()
    plan = result(begin(lab, sandbox, "--from", "earliest", "--dry-run"))
    assert sandbox.users() == []
    done = result(begin(lab, sandbox, "--from", "earliest", "--rate", "140"))
    assert_equivalent(sandbox, made)
    assert plan["records"] == plan["changes"] == 2_000
    assert plan["users"] == plan["calls"] == done["calls"] == done["delivered"] == 300
    assert plan["superseded"] == done["superseded"]
    assert sum(part["to"] - part["from"] for part in plan["partitions"]) == 2_000
    again = result(begin(lab, sandbox, "--from", "earliest", "--rate", "140"))
    assert (again["state"], again["calls"]) == ("finished", 0)
    assert sandbox.stats()["upserts"] == 300
    mistyped = begin(lab, sandbox, "--from", "earliest", "--attribute", "no_such", "--dry-run")
    assert result(mistyped)["changes"] == 0
    assert "there is nothing to replay" in mistyped.log.read_text()
    users = ("--user", "email=typo@example.com", "--user", f"phone={phone(1)}")
    nobody = begin(lab, sandbox, "--from", "earliest", *users)
    assert result(nobody)["state"] == "finished"
    assert "Warning: 1 user not found (email)" in nobody.log.read_text()
    for options in (("--from-offsets", "0:7", "--to-offsets", "0:7"), ("--from", "latest")):
        empty = begin(lab, sandbox, *options)
        assert result(empty)["calls"] == 0
        assert "the range is empty" in empty.log.read_text()
    assert begin(lab, sandbox, "--from-offsets", "0:7", "--to-offsets", "0:4").wait() == 2, "it goes backwards"


def test_an_unfinished_job_is_not_taken_over_by_another_of_its_name(lab: Lab) -> None:
    lab.produce(changes(3, events=100, users=50))
    sandbox = lab.sandbox()
    mine = ("--name", "friday", "--from", "earliest")
    first = begin(lab, sandbox, *mine, "--rate", "5")
    until(lambda: sandbox.stats()["upserts"] > 0, 60, "the first job calls")
    first.signal(signal.SIGTERM)
    assert result(first, 1)["state"] == "stopped"
    for others in (("--partition", "1"), ("--to", "latest"), ("--attribute", "vip")):
        refused = begin(lab, sandbox, *mine, *others)
        assert refused.wait(60) == 2, refused.log.read_text()
        assert "begun with other options, and is not finished" in refused.log.read_text()
    assert "friday goes on" in _log_of(begin(lab, sandbox, *mine))


@pytest.mark.long
def test_a_signal_ends_it_in_time_though_the_broker_is_frozen(own_broker: LocalBroker, tmp_path: Path) -> None:
    """The notes under way are never answered."""
    own_broker.start()
    lab = Lab(own_broker, tmp_path)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    lab.produce(changes(3, events=400, users=200))
    sandbox = lab.sandbox()
    job = begin(lab, sandbox, "--from", "earliest", "--rate", "10")
    until(lambda: sandbox.stats()["upserts"] > 5, 60, "the job calls")
    own_broker.pause()
    try:
        job.signal(signal.SIGTERM)
        assert job.wait(10 + BUSY_SECONDS) == 1, job.log.read_text()
    finally:
        own_broker.resume()
        lab.end()


def _log_of(command: Command) -> str:
    result(command)
    return command.log.read_text()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_killed_and_stopped_in_several_passes_it_repeats_only_what_was_in_the_air(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    made = list(changes(seed, events=4_000, users=700))
    lab.produce(made)
    sandbox = lab.sandbox("--record")
    small, kills, told = {"WORKER_WINDOW__MAX_BYTES": "500000"}, 0, ""
    for _ in range(4):
        goal = sandbox.stats()["upserts"] + rng.randint(20, 150)
        job = begin(lab, sandbox, "--from", "earliest", "--rate", "140", **small)
        until(lambda job=job, goal=goal: sandbox.stats()["upserts"] >= goal or job.ended, 60, f"{goal} calls")  # type: ignore[misc]  # mypy cannot infer such a lambda
        told += job.log.read_text()
        if rng.random() < 0.6:
            kills += not job.ended
            job.kill()
        else:
            job.signal(signal.SIGTERM)
            stopped = result(job, status=1)
            assert stopped["state"] == "stopped"
            assert "goes on" in job.log.read_text()
    done = result(begin(lab, sandbox, "--from", "earliest", "--rate", "140", **small))
    assert done["state"] == "finished"
    assert "passes over the topic are left" in told
    assert_equivalent(sandbox, made)
    called = Counter(str(request["user"]) for request in sandbox.upserts())
    repeated = sum(called.values()) - len(called)
    assert repeated <= kills * CONCURRENCY, f"seed {seed}: {repeated} calls again after {kills} kills"
    assert result(begin(lab, sandbox, "--from", "earliest", "--rate", "140", **small))["calls"] == 0


def numbered(rng: random.Random, first: int, events: int) -> list[Change]:
    """Changes whose value is their number: an older one shows."""
    return [Change(phone(rng.randrange(600)), {"latest": first + number}, first + number) for number in range(events)]


def test_beside_live_workers_no_older_value_is_ever_seen_after_a_newer_one(lab: Lab) -> None:
    rng = random.Random(4)
    made = numbered(rng, 0, 2_000)
    lab.produce(made)
    sandbox = lab.sandbox("--record")
    workers = [lab.worker(sandbox.base_url) for _ in range(2)]
    lab.until_committed(60)
    replayed = len(sandbox.requests())
    job = begin(lab, sandbox, "--from", "earliest", "--rate", "60")
    while not job.ended:
        more = numbered(rng, len(made), 1)
        made += more
        lab.produce(more)
        assert len(made) < 60_000, "the job never ends"
    done = result(job)
    lab.until_committed(60)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert_equivalent(sandbox, made)
    assert done["calls"] > 0
    seen: dict[str, list[int]] = defaultdict(list)
    for request in sandbox.requests():
        assert request["status"] in {200, 429}, request
        if request["status"] == 200:
            seen[str(request["user"])].append(int(request["properties"]["latest"]))
    assert len(sandbox.requests()) > replayed
    back = {user: values for user, values in seen.items() if values != sorted(values)}
    assert not back, next(iter(back.values()))
