"""`verify --repair` through the command line, on a real Kafka: it mends what differs, and touches nothing else."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Lab, final_state
from tests.jobs.comparing import PARTITIONS, STATE, Said, assert_counts, hold, result, verify, write
from tests.support.brokers import RunningBroker
from tests.support.processes import Command, SandboxCommand, until
from tests.support.profiles import phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CONCURRENCY = 8
FAST = ("--rate", "140")


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    yield lab
    lab.end()


def begin(lab: Lab, sandbox: SandboxCommand, *options: str) -> Command:
    environment = lab.environment(sandbox.base_url, {"WORKER_ATTENTIVE__CONCURRENCY": str(CONCURRENCY)})
    return lab.start("verify", "--repair", "--json", *options, environment=environment)


def sent(sandbox: SandboxCommand, held: int = 0) -> list[dict[str, Any]]:
    """The changes that the sandbox was asked for, without the first ones."""
    return [request for request in sandbox.requests() if request.get("properties")][held:]


def test_it_mends_exactly_what_was_planted_and_a_second_run_finds_none(lab: Lab) -> None:
    sandbox = lab.sandbox("--record")
    users = [{"phone": phone(number)} if number % 2 else {"email": f"u+{number}@x.com"} for number in range(30)]
    write(lab, *(Said(user, {**STATE, "points": 1, "store": "South"}) for user in users))
    write(lab, *(Said(user, {"points": 1_250, "store": "North"}) for user in users))
    wrong: dict[int, dict[str, object]] = {
        0: {"points": 1_251},
        1: {"vip": False},
        2: {"total": 50.51, "birthday": "1986-11-17"},
        3: {"store": "north"},
        4: {"colour": "red", "points": 0},
    }
    for number, user in enumerate(users):
        missing = {"vip", "birthday"} if number == 5 else set()
        held = {**STATE, **wrong.get(number, {})}
        hold(sandbox, user, {name: value for name, value in held.items() if name not in missing})
    before = len(sent(sandbox))

    mended = verify(lab, sandbox, *FAST, "--values", "--repair")
    assert_counts(mended, missing=2, different=6, unexpected=1, repaired=8)
    assert mended.status == 1, "the unexpected value stays"
    assert "1 unexpected value left as found" in mended.notes
    asked = {
        (json.dumps(each["user"]), name): value
        for each in sent(sandbox, before)
        for name, value in each["properties"].items()
    }
    expected = {(number, name): STATE[name] for number, names in wrong.items() for name in names if name != "colour"}
    expected |= {(5, name): STATE[name] for name in ("vip", "birthday")}
    assert asked == {
        (json.dumps(users[number]), name): json.loads(json.dumps(value, default=str))
        for (number, name), value in expected.items()
    }

    again = verify(lab, sandbox, *FAST, "--repair")
    assert_counts(again, unexpected=1)
    assert (again.status, again.counts["equal"]) == (1, 150)
    none = verify(lab, sandbox, *FAST, "--repair", *(f"--attribute={name}" for name in STATE))
    assert_counts(none)
    assert none.status == 0
    assert len(sent(sandbox, before)) == 6, "one call a user"


def test_a_refused_value_becomes_a_dead_letter_and_the_others_are_mended(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "enumerations.json").write_text(json.dumps({"store": ["North", "South"]}))
    sandbox = lab.sandbox("--enumerations", str(tmp_path / "enumerations.json"))
    one, two = {"phone": phone(1)}, {"email": "u+2@x.com"}
    write(lab, Said(one, {"store": "North", "points": 1}), Said(one, {"store": "Atlantis", "points": 2}))
    write(lab, Said(two, {"points": 3}))
    hold(sandbox, one, {"store": "North", "points": 1})
    first, second = (verify(lab, sandbox, *FAST, "--repair") for _ in range(2))
    assert_counts(first, missing=1, different=2, repaired=2)
    assert_counts(second, different=1)
    for mended in (first, second):
        assert mended.status == 1
        assert "1 difference not mended: it became a dead letter (rejected)" in mended.notes
        assert "open dead letters hold 1 of the differences" in mended.notes
        assert "Atlantis" not in mended.notes
    [letter] = {str(each["id"]): each for each in lab.dead_letters()}.values()
    assert [each["name"] for each in letter["attributes"]] == ["store"]  # type: ignore[attr-defined]  # a list
    held = {json.dumps(user["user"]): user["attributes"] for user in sandbox.users()}
    assert held == {json.dumps(one): {"store": "North", "points": 2}, json.dumps(two): {"points": 3}}


@pytest.mark.long
def test_killed_and_stopped_it_begins_anew_and_mends_what_is_left(lab: Lab) -> None:
    sandbox = lab.sandbox()
    users = 90
    write(lab, *(Said({"phone": phone(number)}, {"points": number}) for number in range(users)))
    options = ("--rate", "60")

    killed = begin(lab, sandbox, *options)
    until(lambda: sandbox.stats()["upserts"] >= 20, 60, "20 calls")
    killed.kill()

    stopped = begin(lab, sandbox, *options)
    until(lambda: sandbox.stats()["upserts"] >= 50, 60, "50 calls")
    began = time.monotonic()
    stopped.signal(signal.SIGTERM)
    said = result(stopped)
    assert time.monotonic() - began < 10
    assert said.status == 1
    assert f"stopped before the end; 0 of {users} users, and {said.counts['missing']} differences left" in said.notes

    done = result(begin(lab, sandbox, *options))
    assert (done.status, done.counts["missing"]) == (0, done.counts["repaired"])
    assert 0 < done.counts["repaired"] <= users - 50 + CONCURRENCY
    assert sandbox.stats()["upserts"] <= users + CONCURRENCY, "only what was in the air at the kill goes twice"
    assert_counts(verify(lab, sandbox, *FAST))


@pytest.mark.parametrize("seed", [11])
def test_beside_a_live_worker_no_older_value_is_seen_after_a_newer_one(lab: Lab, seed: int) -> None:
    """Newer values come while it sends: of users whose turn was, and of users whose turn will be."""
    sandbox = lab.sandbox("--record")
    users = [{"phone": phone(number)} for number in range(60)]
    last = {number: number + 1 for number in range(len(users))}
    write(lab, *(Said(users[number], {"latest": value}) for number, value in last.items()))
    worker = lab.worker(sandbox.base_url)
    lab.until_committed(60)
    for number in range(40):
        hold(sandbox, users[number], {"latest": 0})
    before = len(sent(sandbox))

    repair = begin(lab, sandbox, "--rate", "5")  # so slowly that each newer value is written amid the calls
    until(lambda: repair.output.read_text().count("\n") == 40 or repair.ended, 60, "it has found what differs")
    overtaken = random.Random(seed).sample(range(40), 20)
    for calls, number in enumerate(overtaken):
        until(lambda calls=calls: len(sent(sandbox, before)) >= calls or repair.ended, 60, f"{calls} calls")  # type: ignore[misc]  # mypy cannot infer such a lambda
        last[number] = 1_000 + calls
        write(lab, Said(users[number], {"latest": last[number]}, age_seconds=0))
    mended = result(repair)
    lab.until_committed(60)
    assert worker.stop() == 0
    assert mended.status == 0, mended.notes
    assert mended.counts["different"] == 40
    assert mended.counts["repaired"] == 20, "of the others; those that were overtaken are not counted"
    assert "20 differences with a later change by now" in mended.notes
    assert final_state(sandbox) == {phone(number): {"latest": value} for number, value in last.items()}
    seen: dict[str, list[int]] = defaultdict(list)
    for request in sent(sandbox, before):
        seen[str(request["user"])].append(request["properties"]["latest"])
    back = {user: values for user, values in seen.items() if values != sorted(values)}
    assert not back, f"seed {seed}: {back}"


def test_a_halt_is_waited_for_and_a_stop_ends_it(lab: Lab) -> None:
    sandbox = lab.sandbox()
    write(lab, *(Said({"phone": phone(number)}, {"points": 1}) for number in range(5)))
    sandbox.faults([{"match": {"method": "POST"}, "status": 403}])
    halted = begin(lab, sandbox, *FAST)
    until(lambda: "unauthorized" in halted.log.read_text(), 60, "the halt is told")
    began = time.monotonic()
    halted.signal(signal.SIGTERM)
    said = result(halted)
    assert time.monotonic() - began < 10
    assert said.status == 1
    assert "0 of 5 users, and 5 differences left" in said.notes
    assert lab.dead_letters() == []


def test_without_a_dead_letter_topic_it_does_not_begin(lab: Lab) -> None:
    write(lab, Said({"phone": phone(1)}, {"points": 1}))
    environment = lab.environment("http://127.0.0.1:9/v1", {"WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{lab.topic}.none"})
    command = lab.command("verify", "--repair", environment=environment)
    assert command.wait() == 2
    assert f"the dead-letter topic {lab.topic}.none does not exist" in command.log.read_text()
