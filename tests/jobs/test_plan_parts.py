"""Partitions merged by time, users counted in bounded memory, and figures over the seconds of a span."""

from __future__ import annotations

import random

import pytest

from tests.core.drive import P0, P1
from worker.jobs.plan import timeline as timelines
from worker.jobs.plan.distinct import Distinct
from worker.jobs.plan.figures import Pace
from worker.jobs.plan.lane import Arrival
from worker.jobs.plan.timeline import Timeline

NOW_MS = 1_000_000


def arrival(at_ms: int) -> Arrival:
    return Arrival(at_ms, 0, 100)


def test_a_change_waits_until_no_partition_can_bring_an_earlier_one() -> None:
    timeline = Timeline(NOW_MS)
    for at_ms in (10, 30, 50):
        timeline.add(P0, arrival(at_ms))
    assert list(timeline.ready({P0, P1})) == []
    timeline.add(P1, arrival(20))
    assert [each.at_ms for each in timeline.ready({P0, P1})] == [10, 20]
    timeline.add(P1, arrival(40))
    assert [each.at_ms for each in timeline.ready({P0})] == [30, 40, 50]
    assert list(timeline.ready(())) == []


def test_the_last_changes_come_once_all_is_read() -> None:
    timeline = Timeline(NOW_MS)
    timeline.add(P1, arrival(20))
    timeline.add(P0, arrival(10))
    assert [each.at_ms for each in timeline.ready(())] == [10, 20]


def test_an_older_date_arrives_with_the_record_before_it_and_none_later_than_now() -> None:
    timeline = Timeline(NOW_MS)
    for at_ms in (500, 100, -1, NOW_MS * 2):
        timeline.add(P0, arrival(at_ms))
    assert [each.at_ms for each in timeline.ready(())] == [500, 500, 500, NOW_MS]


def test_partitions_far_ahead_are_paused_until_the_others_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "BUFFERED_MAX", 10)
    timeline = Timeline(NOW_MS)
    for at_ms in range(11):
        timeline.add(P0, arrival(at_ms))
    assert list(timeline.ready({P0, P1})) == []
    assert timeline.paused == {P0}
    timeline.add(P1, arrival(100))
    assert len(list(timeline.ready({P0, P1}))) == 11
    assert timeline.paused == set()


def test_users_are_counted_exactly_and_then_estimated() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    distinct = Distinct(kept_max=10_000)
    hashes = [rng.randrange(-(2**63), 2**63) for _ in range(100_000)]
    for each in hashes[:10_000] * 2:
        distinct.add(each)
    assert (distinct.count, distinct.exact) == (10_000, True)
    for each in hashes:
        distinct.add(each)
    assert not distinct.exact
    assert distinct.count == pytest.approx(100_000, rel=0.08), f"seed {seed}"


def test_a_second_without_a_call_counts() -> None:
    assert Pace.of({}, 0.0) == Pace(0.0, 0, 0)
    assert Pace.of({0: 5, 999: 10}, 1_000.0) == Pace(0.015, 0, 10)
    assert Pace.of(dict.fromkeys(range(100), 2) | {50: 9}, 100.0) == Pace(2.07, 2, 9)
    assert Pace.of({7: 3}, 0.0) == Pace(3.0, 3, 3), "all at once"
