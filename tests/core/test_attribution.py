"""Whose trouble an answer is. One user's stays that user's, and everybody's becomes nobody's letters."""

from __future__ import annotations

import random

import pytest

from tests.core.drive import Account, Driver, phone
from tests.core.traffic import WEB_PAGE_403, WITHIN_SECONDS, Traffic, bad_one_in, entry
from worker.core.delivery.attribution import Attribution, Blame
from worker.core.delivery.verdict import Verdict
from worker.core.facts import Halted
from worker.core.model import Call, Failure, Reply

pytestmark = pytest.mark.slow  # minutes or megabytes of virtual life each

ANSWERS = pytest.mark.parametrize(
    "reply",
    [Reply(500), WEB_PAGE_403, Reply(403), Reply(429), Reply(404), Reply(409)],
    ids=lambda reply: f"{reply.status}{'-page' * reply.web_page}{'-after' * bool(reply.retry_after_seconds)}",
)


@ANSWERS
def test_one_bad_user_in_a_hundred_leaves_the_others_alone_and_ends_as_a_letter(reply: Reply) -> None:
    traffic = Traffic(bad_one_in(100, reply), server_error_seconds=30.0)
    traffic.run(120.0)
    good = traffic.users - traffic.users // 100
    assert len(traffic.delivered) >= 0.95 * good
    traffic.run(60.0)
    letters = {letter.user.phone for letter in traffic.driver.written if letter.user is not None}
    early = {phone(user) for user in range(0, traffic.users // 2, 100)}
    assert early <= letters, "those that failed for long are letters"
    assert all(int(str(number)[5:]) % 100 == 0 for number in letters), "and nobody else is"


def test_a_burst_of_bad_users_is_no_outage() -> None:
    traffic = Traffic(
        lambda call, _: Reply(500 if int(str(call.user.phone)[5:]) < 50 else 200), server_error_seconds=30.0
    )
    traffic.run(60.0)
    assert len(traffic.delivered) >= 0.95 * (traffic.users - 50)
    traffic.run(30.0)
    assert len(traffic.driver.written) == 50


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_calls_that_fail_at_random_do_not_close_the_gate(share: float) -> None:
    rng = random.Random(7)
    traffic = Traffic(lambda _, __: Reply(503 if rng.random() < share else 200), per_second=200)
    traffic.run(30.0)
    possible = 30.0 * 150.0 * 0.95 * (1.0 - share)
    assert len(traffic.delivered) >= 0.9 * possible
    assert len(traffic.driver.told(Halted)) <= 3


@pytest.mark.parametrize("per_second", [60, 6, 2])
@pytest.mark.parametrize("reply", [Reply(503), Reply(None, Failure.CONNECT), Reply(401), Reply(404), Reply(405)])
def test_an_outage_amid_traffic_is_answered_by_single_probes_and_costs_no_letter(reply: Reply, per_second: int) -> None:
    traffic = Traffic(lambda _, seconds: reply if 20 <= seconds < 50 else Reply(200), per_second=per_second)
    traffic.run(20.0)
    before = len(traffic.driver.sent)
    traffic.run(2.0)
    assert len(traffic.driver.sent) - before <= 2 + per_second * 1.2 + 32, "within about a second"
    before = len(traffic.driver.sent)
    traffic.run(28.0)
    assert len(traffic.driver.sent) - before <= 28 * 2 + 5, "single probes, each after a longer pause"
    traffic.run(40.0)
    assert traffic.driver.written == []
    assert len(traffic.delivered) >= 0.95 * traffic.users


@pytest.mark.parametrize(("others", "blamed"), [("new", False), ("the same", True), ("nobody", True)])
def test_a_user_that_meets_every_outage_is_blamed_unless_new_users_meet_them_too(others: str, *, blamed: bool) -> None:
    attribution = Attribution(server_error_seconds=300.0)
    unlucky, another, well = entry(0), entry(1), entry(2)
    blames = set()
    for outage in range(10):
        now = 10.0 * outage
        blames.add(attribution.blame(unlucky, Verdict.WRONG_URL, Reply(302), now)[0])
        if others != "nobody":
            met = entry(10 + outage) if others == "new" else another
            attribution.blame(met, Verdict.WRONG_URL, Reply(302), now + 1.0)
        for _ in range(20):
            attribution.succeeded(well, started_at=now + 2.0, now=now + 2.1)
    assert (Blame.USER in blames) is blamed


@pytest.mark.parametrize("answer", ["taken", "refused"])
@pytest.mark.parametrize(("verdict", "reply"), [(Verdict.RETRY, Reply(500)), (Verdict.UNEXPECTED, Reply(409))])
def test_a_user_that_is_answered_before_its_letter_could_be_made_is_not_given_up(
    verdict: Verdict, reply: Reply, answer: str
) -> None:
    """In a storm no letter is made: the user's entry waits, and its next call may succeed."""
    attribution = Attribution(server_error_seconds=30.0)
    unlucky, well = entry(0), entry(1)
    now = 0.0
    while attribution.blame(unlucky, verdict, reply, now)[0] is not Blame.USER:
        for _ in range(3):
            attribution.succeeded(well, started_at=now + 1.0, now=now + 1.1)
        now += 5.0
    if answer == "taken":
        attribution.succeeded(unlucky, started_at=now + 1.0, now=now + 1.1)
    else:
        attribution.answered(unlucky)
    attribution.succeeded(well, started_at=now + 2.0, now=now + 2.1)
    assert attribution.blame(unlucky, verdict, reply, now + 3.0)[0] is Blame.NOBODY


def test_a_value_that_a_firewall_dislikes_is_searched_and_the_rest_of_the_user_is_delivered() -> None:
    driver = Driver()
    account = Account(lambda _, value: value == "<script>")

    def answer(call: Call) -> Reply:
        reply = account(call)
        return WEB_PAGE_403 if reply.status == 400 else reply

    driver.change(1, {"a": 1, "b": "<script>", "c": 3})
    for user in range(100, 140):
        driver.change(user, {"a": 1})
        driver.turn(answer)
        driver.advance(1.0)
    assert account.of(1) == {"a": 1, "c": 3}
    assert driver.lost() == [("rejected", "b", "<script>")]
    assert "web page" in driver.written[0].detail


def test_a_wrong_url_that_answers_405_halts_and_writes_no_letter() -> None:
    driver = Driver()
    for user in range(50):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(405), 120.0)
    assert driver.engine.halt is not None
    assert (driver.engine.halt.reason, driver.written) == ("wrong_url", [])
    assert "405" in driver.engine.halt.detail


def test_the_bad_users_of_an_outage_begin_their_clocks_when_others_succeed_again() -> None:
    rng = random.Random(5)

    def answer(call: Call, seconds: float) -> Reply:
        if seconds < 300.0:
            return Reply(503)
        return Reply(500 if int(str(call.user.phone)[5:]) == 3 and rng.random() < 2.0 else 200)

    traffic = Traffic(answer, per_second=5, server_error_seconds=60.0)
    traffic.run(340.0)
    assert traffic.driver.written == [], "it fails for 40 s beside others' successes"
    traffic.run(60.0)
    assert [letter.reason.value for letter in traffic.driver.written] == ["server_error"]


def test_a_token_that_expires_while_one_user_is_searched_costs_that_user_nothing_more() -> None:
    driver = Driver()
    account = Account(lambda _, value: value == "<script>")
    expired = False

    def answer(call: Call) -> Reply:
        if expired:
            return Reply(401)
        reply = account(call)
        return WEB_PAGE_403 if reply.status == 400 else reply

    driver.change(1, {**{f"a{number}": number for number in range(8)}, "b": "<script>"})
    for user in range(100, 140):
        driver.change(user, {"a": 1})
        driver.turn(answer)
        expired = expired or len(driver.lost()) > 0 or len(account.of(1)) > 0
        driver.advance(1.0)
    before = len(driver.written)
    driver.run(answer, 60.0)
    assert len(driver.written) == before
    expired = False
    driver.run(lambda call: WEB_PAGE_403 if account(call).status == 400 else Reply(200), WITHIN_SECONDS)
    assert [name for _, name, _ in driver.lost()] in ([], ["b"])
