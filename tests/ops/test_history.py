"""The last half hour in steps: what it sums up, where its gaps are, and its bound."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

from tests.ops.scenes import RUNNING, STARTING, Clock
from worker.core.totals import Totals
from worker.ops.board import Board
from worker.ops.history import STEP_SECONDS, STEPS, History, LastMinute, Step
from worker.ops.status import Status


def status(*, delivered: int = 0, records: int = 0, age: float | None = 0.0, held: int = 0) -> Status:
    partitions = (replace(RUNNING.partitions[0], oldest_undelivered_seconds=age),)
    totals = Totals(records=records)
    return replace(RUNNING, calls_ended={"delivered": delivered}, totals=totals, held_bytes=held, partitions=partitions)


class Lived:
    """A history, and the clock that it goes by."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.history = History(STARTING, self.clock)

    def look(self, seen: Status, *, after: float = 0.0) -> None:
        self.clock.seconds += after
        self.history.look(seen)

    @property
    def last(self) -> Step:
        step = self.history.steps()[-1]
        assert step is not None
        return step


def test_a_step_counts_what_came_in_it_and_keeps_the_worst_that_was_seen() -> None:
    lived = Lived()
    lived.look(status(delivered=2, records=10, age=4.0, held=100))
    lived.look(status(delivered=5, records=30, age=1.0, held=70), after=1.0)
    assert (lived.last.calls, lived.last.records) == ({"delivered": 5}, 30)
    assert (lived.last.oldest_seconds, lived.last.held_bytes) == (4.0, 100)
    lived.look(status(delivered=6, records=31, age=None, held=50), after=STEP_SECONDS)
    assert (lived.last.calls, lived.last.records) == ({"delivered": 1}, 1)
    assert (lived.last.oldest_seconds, lived.last.held_bytes) == (0.0, 50)


def test_the_age_is_unknown_while_there_is_no_partition() -> None:
    lived = Lived()
    lived.look(STARTING)
    assert lived.last.oldest_seconds is None
    lived.look(status(age=7.0))
    lived.look(replace(STARTING))
    assert lived.last.oldest_seconds == 7.0


def test_where_nobody_looked_is_a_gap_also_at_the_end() -> None:
    lived = Lived()
    lived.look(status(delivered=1))
    lived.look(status(delivered=4), after=3 * STEP_SECONDS)
    lived.clock.seconds += 2 * STEP_SECONDS
    calls = [None if step is None else step.calls["delivered"] for step in lived.history.steps()[-6:]]
    assert calls == [1, None, None, 3, None, None]
    lived.clock.seconds += 2 * STEPS * STEP_SECONDS
    assert lived.history.steps() == (None,) * STEPS


def steps_alive() -> int:
    gc.collect()
    return sum(isinstance(each, Step) for each in gc.get_objects())


def test_the_history_is_bounded() -> None:
    lived, before = Lived(), steps_alive()
    for count in range(3 * STEPS):
        lived.look(status(delivered=count), after=STEP_SECONDS)
    assert steps_alive() - before == STEPS
    steps = lived.history.steps()
    assert len(steps) == STEPS
    assert [step.calls["delivered"] for step in steps if step is not None] == [1] * STEPS


def test_the_last_minute_is_that_of_whole_steps() -> None:
    lived = Lived()
    assert lived.history.last_minute() == LastMinute(0, 0, {})
    for count in range(10):
        lived.look(status(delivered=10 * count, records=100 * count), after=STEP_SECONDS)
    lived.look(status(delivered=5_000, records=50_000))  # in the step under way
    assert lived.history.last_minute() == LastMinute(60, 400, {"delivered": 40})


def test_what_the_board_publishes_is_history() -> None:
    board = Board(STARTING)
    assert board.history.steps()[-1] is None
    board.publish(status(delivered=3))
    assert {step.calls["delivered"] for step in board.history.steps() if step is not None} == {3}


def test_a_reader_in_another_thread_always_finds_whole_steps() -> None:
    lived, ended, wrong = Lived(), threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            if len(lived.history.steps()) != STEPS:
                wrong.append("length")

    reader = threading.Thread(target=read)
    reader.start()
    for count in range(2_000):
        lived.look(status(delivered=count), after=STEP_SECONDS / 3)
    ended.set()
    reader.join()
    assert wrong == []
