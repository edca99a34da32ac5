"""A job's rate beside live traffic: up while there is room, halved by a 429, never near the limit."""

from __future__ import annotations

import pytest

from worker.core.delivery.spare_rate import FIRST, MOST, SpareRate
from worker.core.model import Reply

LIMIT = 150


def seconds(rate: SpareRate, count: int, *, remaining: int | None, start: float) -> float:
    """So many seconds, in each of which a success says what remained. Returns the time at their end."""
    now = start
    for _ in range(count):
        rate.observe(Reply(200, rate_limit=LIMIT, rate_remaining=remaining), now)
        now += 1.0
        rate.ready(now)
    return now


def test_it_begins_at_a_tenth_and_rises_to_nine_tenths_while_there_is_room() -> None:
    rate = SpareRate(LIMIT, 0.0)
    assert rate.per_second == pytest.approx(FIRST * LIMIT)
    now = seconds(rate, 5, remaining=100, start=0.0)
    assert FIRST * LIMIT < rate.per_second < MOST * LIMIT
    seconds(rate, 60, remaining=100, start=now)
    assert rate.per_second == pytest.approx(MOST * LIMIT)


def test_a_429_halves_it() -> None:
    rate = SpareRate(LIMIT, 0.0)
    now = seconds(rate, 60, remaining=100, start=0.0)
    rate.throttled(now)
    assert rate.per_second == pytest.approx(MOST * LIMIT / 2)
    rate.throttled(now + 0.2)
    assert rate.per_second == pytest.approx(MOST * LIMIT / 2), "one second's 429s are one piece of news"


def test_it_makes_room_before_there_is_none() -> None:
    rate = SpareRate(LIMIT, 0.0)
    now = seconds(rate, 60, remaining=100, start=0.0)
    high = rate.per_second
    now = seconds(rate, 2, remaining=3, start=now)
    assert rate.per_second < high
    before = rate.per_second
    seconds(rate, 5, remaining=10, start=now)
    assert rate.per_second == pytest.approx(before), "little room: it stays"


def test_it_leaves_the_last_calls_of_a_second_to_the_live_workers() -> None:
    rate = SpareRate(LIMIT, 0.0)
    rate.observe(Reply(200, rate_limit=LIMIT, rate_remaining=LIMIT - 1), 10.0)
    assert rate.ready(10.3)
    rate.observe(Reply(200, rate_limit=LIMIT, rate_remaining=5), 10.5)
    assert not rate.ready(10.9)
    assert rate.ready(11.1)


def test_without_the_header_it_stays_where_it_is() -> None:
    rate = SpareRate(LIMIT, 0.0)
    seconds(rate, 60, remaining=None, start=0.0)
    assert rate.per_second == pytest.approx(FIRST * LIMIT)


def test_it_never_stops() -> None:
    rate = SpareRate(LIMIT, 0.0)
    seconds(rate, 60, remaining=0, start=0.0)
    assert rate.per_second > 0.0
