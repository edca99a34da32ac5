"""When a job counts as standing still."""

from __future__ import annotations

from itertools import count

from worker.jobs.standstill import STUCK_SECONDS, Watch, reading_stands_still


def test_only_what_does_not_move_for_two_minutes_is_stuck() -> None:
    seconds = count(step=STUCK_SECONDS / 2)
    watch = Watch(lambda: next(seconds))
    assert [watch.is_stuck(left) for left in (9, 9, 9, 8, 8, 9, 9, 9, 9)] == [*[False] * 8, True]


def test_a_reading_that_stands_still_says_what_it_waits_for() -> None:
    assert str(reading_stands_still("a broker is away")) == "reading stands still: a broker is away"
    assert str(reading_stands_still(None)) == "reading stands still: no record comes"
