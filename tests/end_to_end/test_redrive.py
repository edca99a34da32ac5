"""`dead-letters redrive` on a real Kafka, after what stood against the letters was mended."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import Command, SandboxCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID, Change, encode, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CONCURRENCY = 4
USERS = 90
SETTINGS = {"WORKER_ATTENTIVE__CONCURRENCY": str(CONCURRENCY), "WORKER_STORM__LETTERS_MAX": "1000"}
COUNTS = ("letters", "delivered", "superseded", "refused_again", "skipped", "unchecked", "calls")


def begin(lab: Lab, sandbox: SandboxCommand, *options: str, **settings: str) -> Command:
    environment = lab.environment(sandbox.base_url, {**SETTINGS, **settings})
    return lab.start("dead-letters", "redrive", *options, "--json", environment=environment)


def result(command: Command, status: int = 0) -> dict[str, int]:
    """The counts that are not 0."""
    assert command.wait(120) == status, command.log.read_text()
    told = command.log.read_text() + command.output.read_text()
    assert "Traceback" not in told
    assert not any(phone(user) in told for user in range(USERS))
    found = json.loads(command.output.read_text())
    assert found.keys() == {*COUNTS, "dry_run"}
    return {name: found[name] for name in COUNTS if found[name]}


def letters(lab: Lab) -> list[dict[str, Any]]:
    """The topic's records, without those that mark or end a letter."""
    return [letter for letter in lab.dead_letters() if letter["reason"] not in {"begun", "resolved"}]


def states(lab: Lab, sandbox: SandboxCommand) -> dict[str, dict[str, Any]]:
    """Each letter by its user's phone."""
    environment = lab.environment(sandbox.base_url)
    command = lab.command("dead-letters", "list", "--all", "--values", "--json", environment=environment)
    letters = [json.loads(line) for line in command.output.read_text().splitlines()]
    return {letter["user"]["phone"]: letter for letter in letters}


def enumerated(lab: Lab, directory: Path, *values: str, port: int = 0) -> SandboxCommand:
    path = directory / f"enumeration-{len(values)}.json"
    path.write_text(json.dumps({"tier": values}))
    return lab.sandbox("--enumerations", str(path), "--record", "--port", str(port))


def refused(lab: Lab, sandbox: SandboxCommand, made: list[Change]) -> None:
    """A worker takes these changes, and writes letters of what the destination refuses."""
    lab.produce(made)
    worker = lab.worker(sandbox.base_url, SETTINGS)
    lab.until_committed(90)
    assert worker.stop() == 0


@pytest.fixture
def lettered(lab: Lab, tmp_path: Path) -> tuple[Lab, SandboxCommand]:
    """A letter for each of some users: the enumeration lacks `silver` and `platinum`. Now it has `silver`.

    Every third value is `platinum`. Every second user got `gold` since.
    """
    lab.broker.create_topic(lab.topic, 3)
    before = enumerated(lab, tmp_path, "gold")
    refused(
        lab,
        before,
        [
            Change(phone(user), {"tier": "silver" if user % 3 else "platinum", "points": user}, user)
            for user in range(USERS)
        ],
    )
    refused(lab, before, [Change(phone(user), {"tier": "gold"}, USERS + user) for user in range(0, USERS, 2)])
    assert len(lab.dead_letters()) == USERS
    before.kill()
    return lab, enumerated(lab, tmp_path, "gold", "silver")


def test_killed_in_the_middle_it_delivers_what_is_the_last_word_and_ends_each_letter(
    lettered: tuple[Lab, SandboxCommand],
) -> None:
    lab, sandbox = lettered
    last, again = USERS // 2, USERS // 6
    plan = result(begin(lab, sandbox, "--dry-run"))
    assert plan == {"letters": USERS, "delivered": last, "superseded": USERS - last, "calls": last}
    assert (len(sandbox.requests()), len(letters(lab))) == (0, USERS)
    first = {letter["id"]: letter["attempts"] for letter in letters(lab)}

    killed = begin(lab, sandbox, "--rate", "20")
    until(lambda: len(sandbox.requests()) >= last // 2, 60, "half of the calls")
    killed.kill()
    before = letters(lab)[USERS:]
    small = begin(lab, sandbox, "--rate", "100", WORKER_WINDOW__MAX_BYTES="100000")
    done = result(small)
    assert "passes are left" in small.log.read_text()
    assert "What was refused again is open anew" in small.log.read_text()

    assert final_state(sandbox) == {phone(user): {"tier": "silver"} for user in range(USERS) if user % 2 and user % 3}
    for user, letter in states(lab, sandbox).items():
        number = int(user[5:])
        state = "superseded" if number % 2 == 0 else "open" if number % 3 == 0 else "delivered"
        assert (letter["state"], letter["attempts"] > first[letter["id"]]) == (state, state == "open"), user
    assert done["refused_again"] == again
    assert done["letters"] == done["delivered"] + done.get("superseded", 0) + again
    calls = Counter(request["user"]["phone"] for request in sandbox.upserts())
    repeated = calls.total() - len(calls)
    assert repeated <= CONCURRENCY + len(before), f"{repeated} calls again"
    assert len(letters(lab)) == USERS + again + len(before)

    # A further run tries only what is open.
    more = result(begin(lab, sandbox, "--rate", "100"))
    assert more == {"letters": again, "refused_again": again, "calls": again}


def test_a_letter_waits_until_live_workers_are_done_with_its_record(lab: Lab) -> None:
    """The worker falls back on `gold`, which the destination keeps putting off. By now it takes `silver`."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox("--record")
    post = {"match": {"method": "POST"}}
    sandbox.faults([{**post, "status": 400, "times": 1}, {**post, "status": 503}])
    worker = lab.worker(sandbox.base_url, SETTINGS)
    lab.produce([Change(phone(1), {"tier": tier}, 1) for tier in ("gold", "silver")])
    until(lambda: len(letters(lab)) == 1, 60, "a letter")
    for told in (begin(lab, sandbox, "--dry-run"), begin(lab, sandbox)):  # both wait for the worker at once
        assert result(told) == {"letters": 1, "unchecked": 1}
        assert "live workers have not committed their records yet" in told.log.read_text()
    assert not final_state(sandbox)

    sandbox.faults([])
    lab.until_committed(60)
    assert final_state(sandbox) == {phone(1): {"tier": "gold"}}
    assert result(begin(lab, sandbox)) == {"letters": 1, "delivered": 1, "calls": 1}
    assert final_state(sandbox) == {phone(1): {"tier": "silver"}}
    assert worker.stop() == 0


@pytest.mark.long
def test_letters_that_are_all_refused_again_are_no_storm(lab: Lab, tmp_path: Path) -> None:
    """Far more of them than the bound on floods, and not one success."""
    lab.broker.create_topic(lab.topic, 3)
    sandbox = enumerated(lab, tmp_path, "gold")
    refused(lab, sandbox, [Change(phone(user), {"tier": "silver"}, user) for user in range(200)])
    done = result(begin(lab, sandbox, "--rate", "100", WORKER_STORM__LETTERS_MAX="40"))
    assert done == {"letters": 200, "refused_again": 200, "calls": 200}


@pytest.mark.long
def test_beside_a_live_worker_and_after_a_signal_the_newest_value_stands(lettered: tuple[Lab, SandboxCommand]) -> None:
    lab, sandbox = lettered
    worker = lab.worker(sandbox.base_url, SETTINGS)
    worker.until_ready()
    sandbox.faults([{"match": {"method": "POST"}, "delay": 0.3}])
    job = begin(lab, sandbox, "--rate", "10")
    until(lambda: len(sandbox.requests()) >= 2, 60, "two calls")
    lab.produce([Change(phone(user), {"tier": "gold"}, 1_000 + user) for user in range(USERS)])
    until(lambda: len(sandbox.requests()) >= 6, 60, "six calls")
    job.signal(signal.SIGTERM)
    assert job.wait(10) == 1
    stopped = json.loads(job.output.read_text())
    assert "stopped: at least" in job.log.read_text()
    ended = Counter(str(letter["detail"]) for letter in lab.dead_letters() if letter["reason"] == "resolved")
    told = {"delivered": "delivered", "superseded": "superseded", "refused again": "refused_again"}
    assert ended == {detail: stopped[name] for detail, name in told.items() if stopped[name]}
    sandbox.faults([])
    done = result(begin(lab, sandbox))
    left = USERS - ended.total()
    assert (done["letters"], done["superseded"]) == (left + ended["refused again"],) * 2
    lab.until_committed(60)
    assert worker.stop() == 0
    assert {state["tier"] for state in final_state(sandbox).values()} == {"gold"}
    assert len(final_state(sandbox)) == USERS
    for user in range(USERS):
        sent = [each["properties"]["tier"] for each in sandbox.upserts() if each["user"]["phone"] == phone(user)]
        assert sent == sorted(sent, key="gold".__eq__), (user, sent)


@pytest.mark.long
def test_where_the_log_no_longer_reaches_back_a_letter_stays_open_unless_forced(lab: Lab, tmp_path: Path) -> None:
    lab.broker.create_topic(lab.topic, 1)
    before = enumerated(lab, tmp_path, "gold")
    refused(lab, before, [Change(phone(user), {"tier": "silver"}, user) for user in range(4)])
    lab.produce([Change(phone(1), {"tier": "gold"}, 9)])
    before.kill()
    sandbox = enumerated(lab, tmp_path, "gold", "silver")
    admin = lab.broker.admin
    [deleted] = admin.delete_records([TopicPartition(lab.topic, 0, 2)]).values()
    deleted.result()
    # Two letters are behind the log's beginning. Small memory: every user has a pass of its own.
    small = {"WORKER_WINDOW__MAX_BYTES": "1048576"}
    first = begin(lab, sandbox, **small)
    assert result(first) == {"letters": 4, "delivered": 2, "unchecked": 2, "calls": 2}
    assert f"{lab.topic}/0 begins at offset 2" in first.log.read_text()
    assert result(begin(lab, sandbox, "--force")) == {"letters": 2, "delivered": 1, "superseded": 1, "calls": 1}
    assert final_state(sandbox) == {phone(user): {"tier": "silver"} for user in (0, 2, 3)}
    assert result(begin(lab, sandbox, "--force")) == {}


@pytest.mark.long
def test_letters_of_a_topic_that_is_gone_are_told_of(lab: Lab, tmp_path: Path) -> None:
    lab.broker.create_topic(lab.topic, 1)
    sandbox = enumerated(lab, tmp_path, "gold")
    refused(lab, sandbox, [Change(phone(1), {"tier": "silver"}, 1)])
    [gone] = lab.broker.admin.delete_topics([lab.topic]).values()
    gone.result()
    environment = lab.environment(sandbox.base_url)
    until(lambda: lab.topic not in lab.broker.admin.list_topics(timeout=10).topics, 30, "the topic is gone")
    told = lab.start("dead-letters", "redrive", "--json", "--force", environment=environment)
    assert result(told) == {"letters": 1, "unchecked": 1}
    assert f"topic {lab.topic} does not exist" in told.log.read_text()


def test_undecodable_records_are_decoded_again_with_raw(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 1)
    other = SCHEMA_ID + 1
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for user in range(3):
        change = Change(phone(user), {"tier": "silver", "password": "secret"}, user)
        producer.produce(lab.topic, encode(change, other), change.phone.encode())
    producer.produce(lab.topic, b"garbage", b"key")
    assert producer.flush(30) == 0
    sandbox = lab.sandbox("--record")
    worker = lab.worker(sandbox.base_url, {"WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "1"})
    lab.until_committed(90)
    assert worker.stop() == 0
    lab.produce([Change(phone(2), {"tier": "gold"}, 9)])
    without = begin(lab, sandbox, "--reason", "undecodable")
    assert result(without) == {"letters": 4, "skipped": 4}
    assert "--raw tries these again" in without.log.read_text()
    (lab.schemas / f"{other}.avsc").write_text(json.dumps(PROFILE_CHANGED))  # somebody mends it
    done = begin(lab, sandbox, "--raw")
    assert result(done) == {"letters": 4, "delivered": 2, "superseded": 1, "skipped": 1, "calls": 2}
    assert final_state(sandbox) == {phone(user): {"tier": "silver"} for user in range(2)}
    denied = [letter for letter in letters(lab) if letter["reason"] == "sensitive_data"]
    assert [[each["name"] for each in letter["attributes"]] for letter in denied] == [["password"]] * 3
    assert "secret" not in json.dumps(denied)
    again = begin(lab, sandbox, "--raw")
    assert result(again) == {"letters": 4, "skipped": 4}
    assert "a value was left out of them by policy" in again.log.read_text()
