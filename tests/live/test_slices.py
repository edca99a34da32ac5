"""How many records a turn takes in while calls are in flight."""

from __future__ import annotations

import pytest

from worker.live.slices import SLICE_SECONDS, Slices

FULL = pytest.approx(SLICE_SECONDS / 0.00001, abs=1)


def slices_after(records: int, opened: int) -> Slices:
    """After so many turns' records of 10 us each, of which so many of a hundred needed a call of their own."""
    slices = Slices()
    for _ in range(records // 100):
        slices.took(100, 0.001, opened)
    return slices


def test_before_the_first_records_there_is_no_bound() -> None:
    assert Slices().records_max is None


def test_as_many_as_fill_a_slice() -> None:
    assert slices_after(100, opened=100).records_max == FULL


def test_it_follows_records_that_take_longer() -> None:
    slices = slices_after(100, opened=100)
    for _ in range(30):
        slices.took(10, 0.001, 10)
    assert slices.records_max is not None
    assert 20 <= slices.records_max < 21


def test_a_slow_record_does_not_stop_the_reading() -> None:
    slices = Slices()
    slices.took(1, 10.0, 1)
    assert slices.records_max == 10


def test_records_that_take_no_time_have_no_bound() -> None:
    slices = Slices()
    slices.took(10, 0.0, 10)
    assert slices.records_max is None


def test_where_replies_wait_and_each_record_needs_a_call_no_more_are_taken_than_calls_have_ended() -> None:
    slices = slices_after(30_000, opened=100)
    slices.ended(32, of=32)
    assert slices.records_max == 32
    slices.ended(3, of=4)
    assert slices.records_max == 10


def test_reading_on_goes_on_where_it_spares_calls() -> None:
    """Also a few: the further it reads on, the more often a user comes again."""
    slices = slices_after(30_000, opened=98)
    slices.ended(32, of=32)
    assert slices.records_max == FULL


def test_reading_on_goes_on_while_calls_wait_for_the_destination() -> None:
    slices = slices_after(30_000, opened=100)
    slices.ended(16, of=32)
    assert slices.records_max == FULL


def test_it_reads_on_until_it_knows_better() -> None:
    slices = slices_after(20_000, opened=100)
    slices.ended(32, of=32)
    assert slices.records_max == FULL
