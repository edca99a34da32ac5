"""The ledger's committable offset, against a plain count of the open offsets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.allocations import traced
from worker.core.model import Partition
from worker.core.waiting import ledger as ledger_module
from worker.core.waiting.ledger import Ledger

P0 = Partition("profile-changes", 0)


def test_nothing_is_committable_before_the_first_record() -> None:
    assert Ledger(P0).committable is None


def test_nothing_open_makes_the_position_committable() -> None:
    ledger = Ledger(P0)
    ledger.read(41)
    assert (ledger.position, ledger.committable, ledger.idle) == (42, 42, True)


def test_the_lowest_open_offset_is_committable_even_if_later_ones_are_settled() -> None:
    ledger = Ledger(P0)
    for offset in (3, 4, 9):
        ledger.hold(offset, timestamp_ms=100 + offset)
        ledger.read(offset)
    ledger.settle(4)
    ledger.settle(9)
    assert (ledger.committable, ledger.oldest_timestamp_ms) == (3, 103)
    ledger.settle(3)
    assert (ledger.committable, ledger.oldest_timestamp_ms) == (10, None)


def test_settling_more_often_than_holding_is_an_error() -> None:
    ledger = Ledger(P0)
    ledger.hold(5, 0)
    ledger.settle(5)
    with pytest.raises(KeyError):
        ledger.settle(5)


def test_settling_in_a_dropped_ledger_changes_nothing() -> None:
    ledger = Ledger(P0)
    ledger.hold(5, 0)
    ledger.read(5)
    ledger.drop()
    ledger.settle(5)
    assert (ledger.live, ledger.committable, ledger.position) == (False, None, None)


def test_after_the_log_went_back_nothing_past_the_new_position_is_committable() -> None:
    """Offset 7 is open. The log is cut behind offset 3, so offsets 4 to 7 will come again, with other records."""
    ledger = Ledger(P0)
    ledger.hold(7, 0)
    ledger.read(7)
    ledger.read(3)
    assert ledger.committable == 4


def test_what_is_settled_behind_an_open_offset_takes_no_room() -> None:
    """A user that fails for hours holds its offset, while millions pass."""
    ledger = Ledger(P0)
    ledger.hold(0, 0)
    with traced() as allocated:
        for offset in range(1, 50_000):
            ledger.hold(offset, 0)
            ledger.settle(offset)
        assert allocated() < 100_000
    ledger.read(49_999)
    assert ledger.committable == 0
    ledger.settle(0)
    assert ledger.committable == 50_000


class LedgerModel(RuleBasedStateMachine):
    """A log that is read with gaps and may go back; each record is held any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ledger_module, "_SETTLED_MAX", 1)
        self.ledger = Ledger(P0)
        self.open: Counter[int] = Counter()
        self.position: int | None = None

    def teardown(self) -> None:
        self.patch.undo()

    @rule(gap=st.integers(0, 3), holders=st.integers(0, 3))
    def read(self, gap: int, holders: int) -> None:
        offset = (self.position or 0) + gap
        for _ in range(holders):
            self.ledger.hold(offset, offset * 10)
            self.open[offset] += 1
        self.ledger.read(offset)
        self.position = offset + 1

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.ledger.settle(offset)
        self.open[offset] -= 1
        self.open += Counter()

    @precondition(lambda self: self.position)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        self.position = data.draw(st.integers(0, self.position or 0))

    @invariant()
    def commits_nothing_open(self) -> None:
        if self.ledger.position != self.position:
            return  # the log went back; the ledger learns of it from the next record
        expected = min((*self.open, self.position), default=None) if self.position is not None else None
        assert self.ledger.committable == expected
        assert self.ledger.idle == (not self.open)
        assert self.ledger.oldest_timestamp_ms == (min(self.open) * 10 if self.open else None)


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.settings = settings(max_examples=settings().max_examples * 3 // 2, stateful_step_count=40)
