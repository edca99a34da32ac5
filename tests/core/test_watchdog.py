"""The watchdog: a partition whose first unsettled offset stays the same is told, with what it waits for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.drive import OK, P0, P1, REFUSED, Driver, encode, warm
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import Reply
from worker.core.watchdog import STUCK_SECONDS, Obstacle, Stuck


def stuck_in(driver: Driver) -> tuple[Stuck, ...]:
    """What a look at the status finds now."""
    return driver.status.stuck


def _failing_user(driver: Driver) -> None:
    warm(driver)
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(500))


def _withheld_letter(driver: Driver) -> None:
    for _ in range(50):
        driver.record(b"\xff")
    driver.post()


def _letter_that_fails(driver: Driver) -> None:
    driver.letters_fail = True
    driver.record(b"\xff")
    driver.post()


def _letter_of_a_call_that_fails(driver: Driver) -> None:
    driver.letters_fail = True
    warm(driver)
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), REFUSED)
    driver.post()


def _refused_token(driver: Driver) -> None:
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), Reply(401))


def _no_share(driver: Driver) -> None:
    driver.engine.share(0.0, driver.now)
    driver.change(1, {"a": 1})


@pytest.mark.parametrize(
    ("wait", "offset", "obstacle", "says"),
    [
        (_failing_user, 1, Obstacle.USER, "1 calls for its user"),
        (_withheld_letter, 40, Obstacle.WITHHELD, "mend the producer"),
        (_letter_that_fails, 0, Obstacle.DEAD_LETTER_TOPIC, "the topic is down"),
        (_letter_of_a_call_that_fails, 1, Obstacle.DEAD_LETTER_TOPIC, "the topic is down"),
        (_refused_token, 0, Obstacle.HALT, "unauthorized"),
        (_no_share, 0, Obstacle.TURN, "0.0 calls a second"),
    ],
)
def test_a_partition_that_stands_still_says_what_it_waits_for(
    wait: Callable[[Driver], None], offset: int, obstacle: Obstacle, says: str
) -> None:
    driver = Driver(P0, P1)
    wait(driver)
    assert stuck_in(driver) == ()
    driver.advance(STUCK_SECONDS - 1)
    assert stuck_in(driver) == ()
    driver.advance(1)
    (stuck,) = stuck_in(driver)
    assert (stuck.partition, stuck.offset, stuck.seconds, stuck.obstacle) == (P0, offset, STUCK_SECONDS, obstacle)
    assert says in stuck.detail


def test_a_partition_that_waits_for_a_schema_names_its_id() -> None:
    driver = Driver(P0, P1, decoder=Decoder(Mapping()), window_seconds=5.0)
    driver.record(None)
    driver.record(b"\0\0\0\0\x07" + encode(1, {"a": 1}))
    stuck_in(driver)
    driver.advance(STUCK_SECONDS + 5)
    (stuck,) = stuck_in(driver)
    assert (stuck.offset, stuck.obstacle, "schema id 7" in stuck.detail) == (1, Obstacle.SCHEMA, True)


def test_a_partition_that_advances_or_has_nothing_open_is_not_stuck() -> None:
    driver = Driver(P0, P1)
    driver.change(0, {"a": 1}, P1)
    driver.reply(driver.call(), OK)
    for user in range(10):
        driver.change(user, {"a": 1})
        driver.advance(STUCK_SECONDS / 2)
        assert stuck_in(driver) == ()
        driver.reply(driver.call(), OK)


def test_a_stuck_partition_that_advances_or_is_dropped_is_told_no_more() -> None:
    for dropped in (False, True):
        driver = Driver(P0, P1)
        _no_share(driver)
        stuck_in(driver)
        driver.advance(STUCK_SECONDS)
        assert stuck_in(driver)
        driver.engine.share(1.0, driver.now)
        driver.advance(1.0)
        if dropped:
            driver.engine.dropped([P0])
        else:
            driver.reply(driver.call(), OK)
        assert stuck_in(driver) == ()
