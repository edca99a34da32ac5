"""A window played on the log's times makes the same calls as the worker's own window, rate and memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.drive import P0
from worker.core.delivery.rate import HEADROOM
from worker.core.facts import Facts
from worker.core.model import Source, UserKey
from worker.core.waiting.change import Change
from worker.core.waiting.entry import ENTRY_BYTES
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.window import Window
from worker.jobs.plan.lane import Arrival, Lane

BEGAN_MS = 1_790_000_000_000
PLENTY = 1 << 40
TRAFFIC = st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 3)), max_size=60)


def played(lane: Lane, traffic: list[tuple[int, int]]) -> Lane:
    """Pauses in milliseconds, and users."""
    at_ms = BEGAN_MS
    for pause_ms, user in traffic:
        at_ms += pause_ms
        lane.take(Arrival(at_ms, user, 100))
    lane.end()
    return lane


def by_the_worker(seconds: float, traffic: list[tuple[int, int]]) -> list[int]:
    """The seconds of the epoch in which the worker's window gives out its entries. A call takes no time."""
    window, ledger, calls = Window(seconds, Memory(PLENTY, Facts())), Ledger(P0), []

    def call_until(now: float) -> None:
        while (due := window.next_due()) <= now < math.inf or now == math.inf > due:
            entry = window.take(due)
            assert entry is not None
            window.settle(entry)
            calls.append(int(due))

    at_ms = BEGAN_MS
    for offset, (pause_ms, user) in enumerate(traffic):
        at_ms += pause_ms
        call_until(at_ms / 1000)
        key = UserKey("phone", "", str(user))
        window.absorb(key, Change(ledger, key, Source(P0, offset, at_ms), {"tier": offset}), at_ms / 1000)
    call_until(math.inf)
    return calls


@given(TRAFFIC, st.sampled_from([0.0, 0.5, 5.0, 30.0]))
def test_without_a_limit_it_calls_when_the_workers_window_does(traffic: list[tuple[int, int]], seconds: float) -> None:
    lane = played(Lane(seconds, math.inf, PLENTY), traffic)
    assert sorted(lane.due.elements()) == by_the_worker(seconds, traffic)
    assert lane.calls == lane.due.total()
    assert lane.delay_ms == (seconds * 1000 if traffic else 0)


@given(TRAFFIC)
def test_a_window_of_nothing_makes_a_call_for_each_change(traffic: list[tuple[int, int]]) -> None:
    assert played(Lane(0.0, math.inf, PLENTY), traffic).calls == len(traffic)


def test_a_change_at_the_end_of_the_window_opens_the_next() -> None:
    assert played(Lane(5.0, math.inf, PLENTY), [(0, 1), (4_999, 1)]).calls == 1
    assert played(Lane(5.0, math.inf, PLENTY), [(0, 1), (5_000, 1)]).calls == 2


def test_the_limit_holds_calls_back_and_what_waits_absorbs() -> None:
    """A hundred users at once, at ten calls a second, each with a second change while most of them wait."""
    users = [(0, user) for user in range(100)]
    lane = played(Lane(0.0, 10.0, PLENTY), [*users, (1_000, 0), *users[1:]])
    allowed = 10.0 * HEADROOM
    assert 100 < lane.calls < 125, "those that were called within the first second are called again"
    assert lane.wait_ms == pytest.approx(1000 * (lane.calls - 12) / allowed, rel=0.1)
    assert lane.late > 80
    assert lane.delay_ms >= lane.wait_ms
    assert played(Lane(0.0, math.inf, PLENTY), [*users, (1_000, 0), *users[1:]]).calls == 200


def test_what_does_not_fit_into_memory_goes_early() -> None:
    budget = 10 * (ENTRY_BYTES + 100)
    lane = played(Lane(60.0, math.inf, budget), [(10, user) for user in range(100)])
    assert lane.calls == 100
    assert lane.early >= 80
    assert lane.held_bytes <= budget + ENTRY_BYTES + 100


def test_while_memory_is_short_the_log_waits_for_the_limit() -> None:
    budget = 10 * (ENTRY_BYTES + 100)
    lane = played(Lane(1.0, 10.0, budget), [(0, user) for user in range(100)])
    assert lane.calls == 100
    assert lane.held_bytes <= budget + ENTRY_BYTES + 100
    assert lane.delay_ms > 8_000
