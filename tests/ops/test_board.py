"""The board: the snapshot that the main thread publishes for the other threads."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from worker.core.totals import Totals
from worker.ops.board import Board
from worker.ops.status import PartitionStatus, State, Status

STARTING = Status.starting(version="1.2.3", instance="worker-0", group_id="group", rate_limit=150.0)


def test_since_changes_only_with_the_state() -> None:
    board = Board(STARTING)
    begun = board.latest[1]
    board.publish(replace(STARTING, open_entries=3))
    assert board.latest[1] is begun
    assert board.status.open_entries == 3
    board.publish(replace(STARTING, state=State.RUNNING, joined=True))
    assert board.latest[1] is not begun


def test_a_turn_resets_the_idle_time() -> None:
    board = Board(STARTING)
    while (reached := board.seconds_since_turn) < 0.05:
        pass
    board.turn()
    assert board.seconds_since_turn < reached


def test_a_snapshot_of_the_totals_does_not_change_when_counting_goes_on() -> None:
    counts = Totals(dead_letters=Counter(rejected=1))
    totals = counts.snapshot()
    counts.dead_letters["rejected"] += 1
    counts.records += 1
    assert totals == Totals(dead_letters=Counter(rejected=1))


@pytest.mark.parametrize(
    ("position", "committed", "end", "lag"),
    [(9, 4, 10, 6), (9, None, 10, 1), (None, None, 10, None), (9, 4, None, None), (9, 9, 8, 0)],
)
def test_lag_is_counted_from_the_committed_offset_or_without_one_from_the_position(
    position: int | None, committed: int | None, end: int | None, lag: int | None
) -> None:
    partition = PartitionStatus("topic", 0, position, committed, end, paused=False, oldest_undelivered_seconds=None)
    assert partition.lag == lag
