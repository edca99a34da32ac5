"""Halts and throttling: the engine keeps everything, makes few calls, and goes on by itself when they end."""

from __future__ import annotations

import pytest

from tests.core.drive import P0, Account, Driver, warm
from worker.core.facts import Halted, Resumed
from worker.core.model import Failure, Reply

WITHIN_SECONDS = 60.0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(401), "unauthorized"),
        (Reply(403), "unauthorized"),
        (Reply(None, Failure.NO_TOKEN), "unauthorized"),
        (Reply(301), "wrong_url"),
        (Reply(404), "wrong_url"),
        (Reply(404, no_such_path=True), "wrong_url"),
    ],
)
def test_a_halt_keeps_everything_probes_and_goes_on_by_itself(reply: Reply, reason: str) -> None:
    driver, account = Driver(), Account()
    for user in range(10):
        driver.change(user, {"a": user})
    driver.run(lambda _: reply, 300.0)
    assert driver.engine.halt is not None
    assert driver.engine.halt.reason == reason
    assert (driver.written, driver.committable, driver.engine.open_entries) == ([], 0, 10)
    assert len(driver.told(Halted)) == 1
    assert 300 / 10 <= len(driver.sent) <= 10 + 300 / 10 + 5
    driver.run(account, WITHIN_SECONDS)
    assert driver.engine.committable() == {P0: 10}
    (resumed,) = driver.told(Resumed)
    assert resumed.reason == reason


def test_a_404_that_says_no_such_path_halts_even_after_successes() -> None:
    driver = Driver()
    warm(driver)
    for user in (1, 2, 3):
        driver.change(user, {"a": 1})
    driver.run(lambda _: Reply(404, no_such_path=True), 2.0)
    assert driver.engine.halt is not None
    assert driver.written == []


def test_a_new_token_is_tried_at_once() -> None:
    driver = Driver()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(401))
    assert driver.calls() == []
    driver.engine.token_changed(driver.now)
    assert driver.call().probe


def test_an_outage_that_turns_into_a_refused_token_is_reported_as_another_halt() -> None:
    driver = Driver()
    for user in range(5):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(503), 30.0)
    driver.run(lambda _: Reply(401), 30.0)
    assert [halted.reason for halted in driver.told(Halted)] == ["unavailable", "unauthorized"]


@pytest.mark.parametrize("status", [429, 503, 500])
def test_retry_after_delays_the_calls_of_all_users(status: int) -> None:
    driver, account = Driver(), Account()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(status, retry_after_seconds=40.0))
    driver.change(2, {"a": 2})
    assert driver.status.throttled
    driver.run(account, 39.0)
    assert len(driver.sent) == 1
    driver.run(account, WITHIN_SECONDS)
    assert (account.of(1), account.of(2)) == ({"a": 1}, {"a": 2})


def test_retry_after_is_bounded() -> None:
    driver, account = Driver(retry_after_max_seconds=30.0), Account()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(429, retry_after_seconds=1e9))
    driver.run(account, 40.0)
    assert account.of(1) == {"a": 1}


def test_429s_never_halt_and_never_make_a_dead_letter() -> None:
    driver = Driver(server_error_seconds=60.0)
    for user in range(10):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(429), 600.0)
    assert (driver.written, driver.engine.halt, driver.committable) == ([], None, 0)
    assert driver.status.rate_allowed < driver.status.rate_share / 2
    assert driver.status.throttled


def test_a_storm_of_refusals_ends_by_itself_once_the_destination_accepts_calls_again() -> None:
    """Every user is refused, and no new user comes. The entries still open probe at a slow pace and get delivered."""
    driver, account = Driver(storm_letters_max=10), Account()
    for user in range(30):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(400), 600.0)
    assert driver.engine.halt is not None
    assert driver.engine.halt.reason == "rejection_storm"
    assert (len(driver.written), driver.engine.open_entries) == (10, 20)
    asked = len(driver.sent)
    driver.change(29, {"b": "newer"})
    driver.run(account, WITHIN_SECONDS)
    assert len(driver.told(Resumed)) == 1
    assert driver.engine.committable() == {P0: 31}
    assert len(driver.written) == 10
    assert account.of(29) == {"a": 29, "b": "newer"}
    assert asked < 30 + 600 / 10 + 10


def test_a_storm_of_unusable_records_is_told_when_it_begins_and_when_it_ends() -> None:
    driver, account = Driver(storm_letters_max=5), Account()
    for _ in range(8):
        driver.record(b"\xff")
    driver.run(account, 10.0)
    (halted,) = driver.told(Halted)
    assert (halted.reason, driver.status.halt is not None) == ("rejection_storm", True)
    driver.advance(50.0)
    for user in range(10):
        driver.change(user, {"a": 1})
    driver.run(account, 10.0)
    (resumed,) = driver.told(Resumed)
    assert resumed.reason == "rejection_storm"
    assert 50 <= resumed.halted_seconds < 80
    assert driver.status.halt is None
    for _ in range(8):
        driver.record(b"\xff")
    driver.run(account, 10.0)
    assert len(driver.told(Halted)) == 2


def test_a_restart_without_credit_halts_at_the_first_refusal_only() -> None:
    """The note of a quiet partition may be old. A halt at the start would have no entry to probe with, so no end."""
    driver, account = Driver(storm_letters_max=10), Account(lambda _, value: value == "bad")
    driver.engine.restore_letters_spent((0, 10))
    assert driver.told(Halted) == []
    driver.change(1, {"a": "bad"})
    driver.run(account, WITHIN_SECONDS)
    assert (len(driver.told(Halted)), driver.written) == (1, [])
    driver.change(2, {"a": "good"})
    driver.run(account, WITHIN_SECONDS)
    assert len(driver.told(Resumed)) == 1
    assert (len(driver.written), account.of(2)) == (1, {"a": "good"})


def test_a_larger_bound_is_a_way_out_of_a_storm() -> None:
    """A restart remembers how many letters were spent, not how many are left. So a bound raised by n allows n more."""
    driver = Driver(storm_letters_max=25)
    driver.engine.restore_letters_spent((10, 10))
    for user in range(30):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(400), 600.0)
    assert len(driver.written) == 15


def test_retries_are_calls_that_were_made_again_and_not_failures() -> None:
    """Of a failure nobody knows yet whether it will be repeated: a letter or a newer owner may come in between."""
    driver = Driver()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(503))
    assert driver.engine.totals.retries == 0
    driver.advance(60.0)
    driver.reply(driver.call(), Reply(503))
    driver.advance(60.0)
    driver.reply(driver.call(), Reply(200))
    assert (driver.engine.totals.calls, driver.engine.totals.retries) == (3, 2)
    driver.change(1, {"a": 2})
    driver.reply(driver.call(), Reply(200))
    assert (driver.engine.totals.calls, driver.engine.totals.retries) == (4, 2)
