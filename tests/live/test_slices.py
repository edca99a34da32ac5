"""How many records a turn takes in while calls are in flight."""

from __future__ import annotations

from worker.live.slices import SLICE_SECONDS, Slices


def test_before_the_first_records_there_is_no_bound() -> None:
    assert Slices().records_max is None


def test_as_many_as_fill_a_slice() -> None:
    slices = Slices()
    slices.took(100, 0.001)
    assert slices.records_max == SLICE_SECONDS / 0.00001


def test_it_follows_records_that_take_longer() -> None:
    slices = Slices()
    slices.took(100, 0.001)
    for _ in range(30):
        slices.took(10, 0.001)
    assert slices.records_max is not None
    assert 20 <= slices.records_max < 21


def test_a_slow_record_does_not_stop_the_reading() -> None:
    slices = Slices()
    slices.took(1, 10.0)
    assert slices.records_max == 10


def test_records_that_take_no_time_have_no_bound() -> None:
    slices = Slices()
    slices.took(10, 0.0)
    assert slices.records_max is None
