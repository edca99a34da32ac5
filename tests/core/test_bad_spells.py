"""A destination that is bad for a while, for some calls or for all, costs no letter of a good user."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.core.drive import Account, Driver
from tests.core.traffic import WEB_PAGE_403, Traffic
from worker.core.model import Call, Reply

pytestmark = pytest.mark.slow  # minutes or megabytes of virtual life each


def failing(share_at: Callable[[float], float], reply: Reply) -> Callable[[Call, float], Reply]:
    """Calls get this reply at random, by a share that changes with time."""
    rng = random.Random(3)
    return lambda _, seconds: reply if rng.random() < share_at(seconds) else Reply(200)


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("reply", [Reply(404), Reply(409), Reply(302), WEB_PAGE_403])
def test_a_proxy_that_is_replaced_answers_some_calls_itself(share: float, reply: Reply) -> None:
    traffic = Traffic(failing(lambda at: share if 10 <= at < 18 else 0.0, reply))
    traffic.run(60.0)
    assert traffic.driver.written == []
    assert len(traffic.delivered) >= 0.95 * traffic.users


@pytest.mark.parametrize("reply", [Reply(404), Reply(409), Reply(302), Reply(403)])
def test_one_of_three_replicas_of_a_proxy_answers_itself_for_a_minute(reply: Reply) -> None:
    traffic = Traffic(failing(lambda at: 1 / 3 if 10 <= at < 70 else 0.0, reply), per_second=50)
    traffic.run(70.0)
    delivered = len(traffic.delivered)
    traffic.run(20.0)
    assert traffic.driver.written == []
    assert delivered >= 50 * (10 + 0.6 * 60 * 2 / 3), "60 % of what is possible with no call made again"


def test_an_outage_between_two_brownouts() -> None:
    """No evidence from before the outage, together with that from after it, gives a user up."""
    shares = {10.0: 0.0, 40.0: 0.5, 340.0: 1.0, 370.0: 0.5, 999.0: 0.0}
    traffic = Traffic(
        failing(lambda at: next(share for until, share in shares.items() if at < until), Reply(503)), per_second=30
    )
    traffic.run(400.0)
    assert traffic.driver.written == []


@pytest.mark.parametrize("seed", range(5))
def test_after_a_halt_calls_fail_at_random_and_no_user_is_fresh(seed: int) -> None:
    """All users met the halt, and nothing new comes: only the calls that are made again show how many fail."""
    rng = random.Random(seed)

    def answer(_: Call, seconds: float) -> Reply:
        if seconds < 60.0:
            return WEB_PAGE_403
        return Reply(503) if rng.random() < 0.7 else Reply(200)

    traffic = Traffic(answer, per_second=4, server_error_seconds=5.0, probe_max_seconds=1.0)
    traffic.run(6.0)
    traffic.run(400.0, silent=True)
    assert traffic.driver.written == []
    assert len(traffic.delivered) == traffic.users


def test_half_of_all_calls_fail_for_ten_minutes() -> None:
    traffic = Traffic(failing(lambda _: 0.5, Reply(503)), per_second=20, server_error_seconds=60.0)
    traffic.run(600.0)
    assert traffic.driver.written == []


@pytest.mark.parametrize("after_seconds", [0.1, 0.5, 1.0, 2.0, 3.5])
def test_a_token_expires_while_a_user_is_searched(after_seconds: float) -> None:
    """A firewall dislikes one of its values (403). Then everybody gets a 401, and later the token is renewed."""
    driver, account = Driver(), Account(lambda _, value: value == "<script>")
    expires = float("inf")

    def answer(call: Call) -> Reply:
        if expires <= driver.now.mono < expires + 30.0:
            return Reply(401)
        reply = account(call)
        return WEB_PAGE_403 if reply.status == 400 else reply

    values = {f"good{number:02}": number for number in range(12)}
    driver.change(1, {**values, "bad": "<script>"})
    began = driver.now.mono
    for user in range(100, 600):
        driver.change(user, {"a": 1})
        driver.turn(answer)
        driver.advance(0.5)
        if expires == float("inf") and account.of(1):  # a part was delivered: the search is under way
            expires = driver.now.mono + after_seconds
    assert began < expires < driver.now.mono - 60.0
    assert account.of(1) == values
    assert driver.lost() == [("rejected", "bad", "<script>")]
