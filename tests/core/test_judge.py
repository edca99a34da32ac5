"""What becomes of an entry after its call is refused, gets an odd answer, or fails; seen from outside the engine."""

from __future__ import annotations

import pytest

from tests.core.drive import P0, REFUSED, TIMEOUT, Account, Driver, phone, warm
from worker.core.facts import Halted, Resumed
from worker.core.model import Failure, Reply, Scalar

WITHIN_SECONDS = 60.0
FORBIDDEN = "purple"


def purple(_: str, value: Scalar) -> bool:
    return value == FORBIDDEN


# -- refused ---------------------------------------------------------------------------------------------------------


def test_one_bad_attribute_of_many_is_dead_lettered_alone_and_its_value_before_is_delivered() -> None:
    driver, account = Driver(window_seconds=5.0), Account(purple)
    driver.change(1, {"colour": "red", **{f"a{number}": number for number in range(10)}})
    offset = driver.change(1, {"colour": FORBIDDEN})
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"colour": "red", **{f"a{number}": number for number in range(10)}}
    (letter,) = driver.written
    assert driver.lost() == [("rejected", "colour", FORBIDDEN)]
    assert [source.offset for source in letter.sources] == [offset]
    assert letter.user is not None
    assert letter.user.phone == phone(1)
    assert letter.answer is not None
    assert (letter.answer.status, letter.answer.request_id) == (400, "r-1")
    assert letter.attempts >= 2
    assert FORBIDDEN not in letter.detail
    assert driver.committable == 2


def test_a_lone_bad_attribute_costs_one_call_and_one_letter() -> None:
    driver = Driver()
    driver.change(1, {"colour": FORBIDDEN})
    driver.run(Account(purple), WITHIN_SECONDS)
    assert (len(driver.sent), driver.lost()) == (1, [("rejected", "colour", FORBIDDEN)])


def test_newer_changes_wait_while_refused_attributes_are_searched() -> None:
    driver, account = Driver(), Account(purple)
    driver.change(1, {"colour": FORBIDDEN, "a": 1})
    driver.reply(driver.call(), REFUSED)
    driver.change(1, {"colour": "blue", "a": 2})
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"colour": "blue", "a": 2}
    assert driver.lost() == [("rejected", "colour", FORBIDDEN)]
    assert len({tuple(call.properties.items()) for call in driver.sent}) == len(driver.sent), "a call was made twice"


def test_a_413_is_searched_like_a_400_and_nothing_that_fits_alone_is_lost() -> None:
    driver, account = Driver(), Account()
    attributes = {f"a{number}": number for number in range(9)}
    driver.change(1, attributes)
    driver.run(lambda call: Reply(413) if len(call.properties) > 2 else account(call), WITHIN_SECONDS)
    assert account.of(1) == attributes
    assert driver.written == []


def test_past_the_bound_on_calls_the_rest_is_dead_lettered_and_the_letter_says_why() -> None:
    driver = Driver(calls_per_entry_max=4)
    driver.change(1, {f"a{number}": number for number in range(20)})
    driver.run(lambda _: REFUSED, WITHIN_SECONDS)
    assert len(driver.sent) == 4
    assert sorted(name for _, name, _ in driver.lost()) == sorted(f"a{number}" for number in range(20))
    assert "4 calls" in driver.written[-1].detail
    assert driver.committable == 1


def test_calls_that_an_outage_cost_do_not_count_against_the_search() -> None:
    """Otherwise a user who waited through an outage would lose good values together with the one bad value."""
    driver, account = Driver(calls_per_entry_max=6), Account(purple)
    driver.change(1, {"colour": FORBIDDEN, "a": 1})
    driver.run(lambda _: Reply(503), 120.0)
    assert len(driver.sent) > 6
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"a": 1}
    assert driver.lost() == [("rejected", "colour", FORBIDDEN)]


# -- odd answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "not_found"), *((status, "unexpected_status") for status in (409, 418, 421, 422, 423))]
)
def test_an_answer_that_does_not_change_is_a_dead_letter_of_all_that_was_sent(status: int, reason: str) -> None:
    """Others succeed in between: it is the user's, and not a path that is missing for everybody."""
    driver, account = Driver(), Account()
    warm(driver)
    driver.change(1, {"a": 1, "b": 2})
    others_succeed(driver, 1, 60.0, account, Reply(status))
    assert driver.lost() == [(reason, "a", 1), (reason, "b", 2)]
    assert 3 <= len(driver.sent) - len(account.users) - 1 <= 8, "calls for the one user"
    assert driver.committable == driver.ends[P0]


@pytest.mark.parametrize("status", [404, 409, 421, 423])
def test_an_answer_that_may_change_is_asked_for_again(status: int) -> None:
    """A lock, a conflict, a server that does not know the host: another try may succeed."""
    driver, account = Driver(), Account()
    warm(driver)
    driver.change(1, {"a": 1})
    driver.turn(lambda _: Reply(status))
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"a": 1}
    assert driver.written == []


# -- failing ---------------------------------------------------------------------------------------------------------


def others_succeed(
    driver: Driver,
    bad: int,
    seconds: float,
    account: Account,
    answer: Reply = Reply(500),  # noqa: B008 - frozen
) -> None:
    """One user's calls fail; every second another user's succeeds."""
    until = driver.now.mono + seconds
    user = 1_000
    while driver.now.mono < until:
        user += 1
        driver.change(user, {"a": 1})
        driver.turn(lambda call: answer if call.user.phone == phone(bad) else account(call))
        driver.advance(1.0)


def test_a_user_who_fails_for_long_while_others_succeed_is_dead_lettered_as_server_error() -> None:
    driver, account = Driver(server_error_seconds=120.0), Account()
    driver.change(1, {"a": 1, "b": 2})
    others_succeed(driver, 1, 115.0, account)
    assert driver.written == []
    assert driver.committable == 0
    others_succeed(driver, 1, 60.0, account)
    assert driver.lost() == [("server_error", "a", 1), ("server_error", "b", 2)]
    assert driver.told(Halted) == []
    driver.run(account, WITHIN_SECONDS)
    assert driver.committable == driver.ends[P0]


@pytest.mark.parametrize("reply", [Reply(500), Reply(503), Reply(408), TIMEOUT, Reply(None, Failure.CONNECT)])
def test_an_outage_makes_no_dead_letter_however_long_it_lasts(reply: Reply) -> None:
    driver, account = Driver(server_error_seconds=60.0), Account()
    for user in range(20):
        driver.change(user, {"a": user})
    driver.run(lambda _: reply, 3_600.0)
    assert (driver.written, driver.committable) == ([], 0)
    assert driver.engine.halt is not None
    assert driver.engine.halt.reason == "unavailable"
    probes = len(driver.sent)
    assert probes <= 20 + 3_600 / 10 + 10
    driver.run(account, WITHIN_SECONDS)
    assert {user: account.of(user) for user in range(20)} == {user: {"a": user} for user in range(20)}
    assert (driver.written, driver.committable) == ([], 20)


def test_the_time_of_an_outage_does_not_count_against_a_user_who_failed_before_it() -> None:
    driver, account = Driver(server_error_seconds=60.0), Account()
    driver.change(1, {"a": 1})
    others_succeed(driver, 1, 50.0, account)
    for user in range(2, 8):
        driver.change(user, {"a": 1})
    driver.run(lambda _: Reply(503), 600.0)
    assert driver.written == []


def test_a_failing_user_is_dead_lettered_even_if_others_succeed_so_rarely_that_the_gate_closes() -> None:
    driver, account = Driver(server_error_seconds=300.0), Account()
    driver.change(1, {"a": 1})
    for minute in range(20):
        driver.change(100 + minute, {"a": 1})
        for _ in range(60):
            driver.turn(lambda call: Reply(500) if call.user.phone == phone(1) else account(call))
            driver.advance(1.0)
    assert driver.lost() == [("server_error", "a", 1)]
    assert driver.engine.committable() == driver.ends


def test_a_failing_user_is_dead_lettered_even_if_the_topic_goes_silent() -> None:
    """No other user's success comes any more. One user must not hold the partition's offsets for ever."""
    driver, account = Driver(server_error_seconds=300.0), Account()
    driver.change(1, {"a": 1})
    others_succeed(driver, 1, 30.0, account)
    driver.run(lambda _: Reply(500), 250.0)
    assert driver.written == []
    driver.run(lambda _: Reply(500), 60.0)
    assert driver.lost() == [("server_error", "a", 1)]
    assert driver.engine.halt is None, "the halt must end with the one bad user"
    assert driver.engine.committable() == driver.ends


def test_a_user_is_not_dead_lettered_because_no_connection_can_be_made() -> None:
    driver, account = Driver(server_error_seconds=60.0), Account()
    driver.change(1, {"a": 1})
    others_succeed(driver, 1, 30.0, account)
    driver.run(lambda _: Reply(None, Failure.CONNECT), 3_600.0)
    assert driver.written == []


def test_an_outage_on_a_silent_topic_dead_letters_no_user_whose_failures_began_with_it() -> None:
    driver, account = Driver(server_error_seconds=60.0), Account()
    driver.change(1, {"a": 1})
    others_succeed(driver, 99, 30.0, account)
    driver.change(2, {"a": 1})
    driver.run(lambda _: Reply(500), 3_600.0)
    assert driver.written == []
    assert driver.engine.halt is not None


def test_a_few_successes_of_others_do_not_prove_that_one_user_is_bad() -> None:
    driver, account = Driver(server_error_seconds=30.0), Account()
    driver.change(1, {"a": 1})
    for _ in range(6):
        others_succeed(driver, 1, 1.0, account)
        driver.run(lambda _: Reply(500), 12.0)
    assert driver.written == []


def test_after_an_outage_a_failing_users_time_starts_again() -> None:
    driver, account = Driver(server_error_seconds=60.0), Account()
    for user in range(10):
        driver.change(user, {"a": user})
    driver.run(lambda _: Reply(503), 600.0)
    driver.turn(lambda call: Reply(503) if call.user.phone == phone(3) else account(call))
    others_succeed(driver, 3, 50.0, account)
    assert driver.written == []


def test_an_answer_between_failures_restarts_the_users_time() -> None:
    """The user's call fails, then is refused, then fails again: these failures are not one long failure."""
    driver, account = Driver(server_error_seconds=60.0), Account()
    driver.change(1, {"a": 1, "b": 2})
    others_succeed(driver, 1, 55.0, account)
    driver.advance(30.0)
    driver.turn(lambda call: REFUSED if call.user.phone == phone(1) else account(call))
    others_succeed(driver, 1, 50.0, account)
    assert driver.written == []


def test_a_retry_carries_the_changes_that_came_meanwhile() -> None:
    driver = Driver()
    driver.change(1, {"a": 1, "b": 1})
    driver.reply(driver.call(), TIMEOUT)
    driver.change(1, {"a": 2})
    assert driver.calls() == []
    driver.advance(1.0)
    assert driver.call().properties == {"a": 2, "b": 1}


def test_in_an_outage_single_probes_take_the_users_in_turn() -> None:
    driver = Driver(concurrency=8)
    for user in range(30):
        driver.change(user, {"a": user})
    for call in driver.calls():
        driver.reply(call, Reply(503))
    probed = []
    for _ in range(12):
        driver.advance(10.0)
        call = driver.call()
        assert call.probe
        assert driver.calls() == []
        probed.append(call.user.phone)
        driver.reply(call, Reply(503))
    assert len(set(probed)) == 12


def test_one_bad_user_cannot_keep_the_gate_closed() -> None:
    driver, account = Driver(), Account()
    for user in range(3):
        driver.change(user, {"a": user})
    driver.turn(lambda _: Reply(500))
    driver.run(lambda call: Reply(500) if call.user.phone == phone(0) else account(call), WITHIN_SECONDS)
    assert (account.of(1), account.of(2)) == ({"a": 1}, {"a": 2})
    assert len(driver.told(Resumed)) == 1
