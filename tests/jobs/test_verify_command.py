"""`verify` through the command line, on a real Kafka: it finds what differs, and nothing else."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab
from tests.jobs.comparing import PARTITIONS, STATE, Said, assert_counts, hold, verify, write
from tests.support.brokers import RunningBroker
from tests.support.processes import until
from tests.support.profiles import phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    lab.broker.create_topic(lab.topic, PARTITIONS)
    yield lab
    lab.end()


def test_it_finds_exactly_what_was_planted(lab: Lab, tmp_path: Path) -> None:
    sandbox = lab.sandbox("--limit", "0", "--read-key", "attribute")
    users = [{"phone": phone(number)} if number % 2 else {"email": f"u+{number}@x.com"} for number in range(40)]
    write(lab, *(Said(user, {"points": 1, "store": "South"}) for user in users))
    write(lab, *(Said(user, STATE) for user in users))
    hold(sandbox, users[1], {name: value for name, value in STATE.items() if name != "vip"})
    hold(sandbox, users[2], {**STATE, "points": 1_251})
    hold(sandbox, users[3], {**STATE, "colour": "red"})
    hold(sandbox, users[4], {**STATE, "store": "north", "birthday": date(1986, 11, 17), "total": 50.50001})
    for user in users[5:]:
        hold(sandbox, user, STATE)
    planted = {
        *((f"email=u+0@x.com {name}", "missing") for name in STATE),
        (f"phone={phone(1)} vip", "missing"),
        ("email=u+2@x.com points", "different"),
        (f"phone={phone(3)} colour", "unexpected"),
        *((f"email=u+4@x.com {name}", "different") for name in ("store", "birthday", "total")),
    }
    found = verify(lab, sandbox, "--values", "--rate", "1000")
    assert found.kinds == planted
    assert found.status == 1
    assert_counts(found, missing=6, different=4, unexpected=1)
    assert (found.counts["users"], found.counts["attributes"], found.counts["equal"]) == (40, 200, 190)
    [points] = [each for each in found.findings if each["attribute"] == "points" and each["finding"] == "different"]
    assert (points["topic"], points["expected"], points["found"]) == (lab.topic, 1_250, "1251")
    assert isinstance(points["partition"], int)
    assert isinstance(points["offset"], int)

    hidden = verify(lab, sandbox, "--rate", "1000", "--attribute", "st*", "--attribute", "vip")
    assert hidden.kinds == {("store", "missing"), ("vip", "missing"), ("store", "different")}
    assert_counts(hidden, missing=3, different=1)
    assert all("user" not in each and "found" not in each for each in hidden.findings)

    typed = tmp_path / "users.txt"
    typed.write_text("\n".join(["# those that differ", *{each["user"] for each in found.findings}]))
    again = verify(lab, sandbox, "--values", "--rate", "1000", "--users-file", str(typed))
    assert (again.kinds, again.counts["users"]) == (planted, 5)

    plain = lab.command("verify", "--rate", "1000", environment=lab.environment(sandbox.base_url))
    text = plain.output.read_text()
    assert plain.wait() == 1
    assert "40 users, 200 attributes: 190 equal, 6 missing, 4 different, 1 unexpected" in text
    assert "different   points  " in text
    for private in ("x.com", phone(1), "1251", "red"):
        assert private not in text + plain.log.read_text()


def test_nothing_differs_after_a_worker_has_delivered(lab: Lab) -> None:
    sandbox = lab.sandbox("--limit", "0")
    said = [
        Said({"phone": phone(number % 80)}, {"points": number, "vip": number % 3 == 0, "total": number / 7})
        for number in range(600)
    ]
    write(lab, *said)
    worker = lab.worker(sandbox.base_url)
    lab.until_committed(60)
    assert worker.stop() == 0
    environment = lab.environment(sandbox.base_url)
    done = lab.command("verify", "--sample", "60", "--rate", "1000", environment=environment)
    assert (done.wait(), done.output.read_text()) == (0, "no differences: 60 users, 180 attributes\n")


@pytest.mark.long
def test_a_sample_is_the_same_in_each_run_and_in_little_memory(lab: Lab) -> None:
    sandbox = lab.sandbox("--limit", "0")
    write(lab, *(Said({"phone": phone(number)}, {"points": number}) for number in range(300)))
    options = ("--values", "--sample", "120", "--rate", "1000")
    first, second = verify(lab, sandbox, *options), verify(lab, sandbox, *options, WORKER_WINDOW__MAX_BYTES="65536")
    assert first.findings == second.findings
    assert first.counts == second.counts
    assert_counts(first, missing=120)


@pytest.mark.long
def test_young_changes_are_not_judged_and_older_ones_only_from_when_on(lab: Lab) -> None:
    sandbox = lab.sandbox()
    one, two = {"phone": phone(1)}, {"phone": phone(2)}
    write(lab, Said(one, {"points": 1, "tier": "gold"}), Said(two, {"points": 2}))
    hold(sandbox, one, {"points": 1, "tier": "gold", "other": "x"})
    hold(sandbox, two, {"points": 2})
    write(lab, Said(one, {"points": 7}, age_seconds=5), Said(two, {"tier": "new"}, age_seconds=5))
    found = verify(lab, sandbox)
    assert_counts(found, unexpected=1)
    assert (found.counts["attributes"], found.counts["equal"], found.counts["young"]) == (2, 2, 2)
    assert "too young" in found.notes
    write(lab, Said(two, {"points": 3}, age_seconds=600))
    since = verify(lab, sandbox, "--from", "-20m")
    assert_counts(since, different=1)
    assert "nothing is called unexpected" in since.notes


def test_users_without_phone_and_email_cannot_be_read(lab: Lab) -> None:
    sandbox = lab.sandbox()
    known = {"client_user_id": "c-1", "phone": phone(1)}
    custom = {"custom_identifiers": [{"name": "crm", "value": "77"}]}
    write(lab, Said({"client_user_id": "c-2"}, STATE), Said(custom, STATE), Said(known, STATE))
    hold(sandbox, {"phone": phone(1)}, STATE)
    found = verify(lab, sandbox)
    assert_counts(found, unreadable=2)
    assert (found.status, found.counts["users"], found.counts["equal"]) == (0, 3, 5)
    assert "2 users with no phone and no email" in found.notes
    none = verify(lab, sandbox, "--user", "client_user_id=nobody")
    assert (none.status, none.counts["users"], none.counts["unknown"]) == (0, 0, 1)
    assert "Warning: 1 user not found (client_user_id): no record that was read is about them" in none.notes
    assert "nobody" not in none.notes
    some = verify(lab, sandbox, "--user", "client_user_id=c-1", "--user", "custom:crm=78", "--values")
    assert (some.status, some.counts["users"], some.counts["unknown"]) == (0, 1, 1)
    assert "not found: custom:crm=78" in some.notes


def test_an_account_that_may_not_read_and_a_wrong_token_are_told_apart(lab: Lab) -> None:
    write(lab, Said({"phone": phone(1)}, STATE))
    closed = verify(lab, lab.sandbox("--no-reads"))
    assert closed.status == 1
    assert "status 401: the token is right, but it may not read custom attributes" in closed.notes
    wrong = verify(lab, lab.sandbox(), WORKER_ATTENTIVE__TOKEN="another")
    assert wrong.status == 1
    assert "status 401. GET /me answered 401; the token is wrong" in wrong.notes
    for each in (closed, wrong):
        assert "no user was compared" in each.notes
        assert_counts(each)


@pytest.mark.long
def test_it_keeps_to_the_rate_and_bears_with_refusals_and_failures(lab: Lab) -> None:
    sandbox = lab.sandbox("--limit", "20")
    users = [{"phone": phone(number)} for number in range(30)]
    write(lab, *(Said(user, {"points": 1}) for user in users))
    sandbox.faults(
        [
            {"match": {"method": "GET"}, "status": 429, "headers": {"Retry-After": "1"}, "times": 3},
            {"match": {"method": "GET"}, "status": 503, "times": 3},
            {"match": {"method": "GET"}, "drop": True, "times": 3},
        ]
    )
    found = verify(lab, sandbox, "--rate", "40", WORKER_ATTENTIVE__RETRY_MAX_SECONDS="1")
    assert found.status == 1
    assert_counts(found, missing=30)
    statuses = sandbox.stats()["by_status"]
    assert statuses["200"] == 31, "one more at the start, to see whether the account may read"
    assert statuses["429"] <= 25, "a limit of 20, asked at 40: it slows down"


@pytest.mark.long
def test_a_stop_ends_it_in_order_and_says_what_is_left(lab: Lab) -> None:
    sandbox = lab.sandbox()
    write(lab, *(Said({"phone": phone(number)}, {"points": 1}) for number in range(30)))
    command = lab.start("verify", "--json", "--rate", "1", environment=lab.environment(sandbox.base_url))
    until(lambda: sandbox.stats()["requests"] > 1, 60, "it has begun to ask")
    began = time.monotonic()
    command.signal(signal.SIGTERM)
    assert command.wait() == 1
    assert time.monotonic() - began < 10
    assert "stopped before the end; 30 of 30 users left" in command.log.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "yesterday"), "is no time"),
        (("--user", "anna@example.com"), "a user is phone="),
        (("--users-file", "none.txt"), "none.txt cannot be read"),
        (("--kafka-topics", "no-such-topic"), "no-such-topic"),
        (("--sample", "0"), "--sample"),
    ],
)
def test_bad_input_is_told_in_words(lab: Lab, options: tuple[str, ...], words: str) -> None:
    command = lab.command("verify", *options, environment=lab.environment("http://127.0.0.1:9/v1"))
    log = command.log.read_text()
    assert command.wait() == 2, log
    assert words in log
    assert "anna" not in log
    assert "Traceback" not in log
