"""A partition that has records and brings none is told of."""

from __future__ import annotations

import pytest

from tests.core.drive import P0, P1
from worker.core.intake import PartitionProgress
from worker.core.model import Partition
from worker.live.silence import SILENT_SECONDS, Silence

LATE = SILENT_SECONDS + 1.0


def told(
    positions: tuple[int | None, int | None],
    end: int = 50,
    explained: tuple[Partition, ...] = (),
    seconds: float = LATE,
) -> str | None:
    """What is said of P0 if it stood at the first position first, and at the second one so much later."""
    silence = Silence()
    first, second = (PartitionProgress(position, None, None) for position in positions)
    silence.problem({P0: first}, {P0: end}, explained, 0.0)
    return silence.problem({P0: second}, {P0: end}, explained, seconds)


@pytest.mark.parametrize("position", [7, None, 0])
def test_a_partition_whose_records_do_not_come_is_a_problem(position: int | None) -> None:
    problem = told((position, position))
    assert problem is not None
    assert problem.startswith("profile-changes[0] ends at offset 50, but nothing was read")
    assert "transaction" in problem


def test_a_partition_that_advances_or_has_nothing_or_is_explained_is_none() -> None:
    assert told((7, 8)) is None
    assert told((50, 50)) is None, "at its end"
    assert told((7, 7), explained=(P0,)) is None
    assert told((7, 7), seconds=SILENT_SECONDS / 2) is None
    assert told((None, None), end=0) is None, "empty"


def test_a_partition_whose_end_was_never_heard_is_a_problem() -> None:
    silence = Silence()
    unread = PartitionProgress(None, None, None)
    assert silence.problem({P0: unread}, {}, (), 0.0) is None
    problem = silence.problem({P0: unread}, {}, (), LATE)
    assert problem is not None
    assert problem.startswith("profile-changes[0] has an unknown end, and nothing was read yet for 61 s: ")


def test_the_longest_silence_is_told_and_the_others_are_counted() -> None:
    silence = Silence()
    still = PartitionProgress(3, None, None)
    silence.problem({P1: still}, {P1: 9}, (), 0.0)
    silence.problem({P0: still, P1: still}, {P0: 9, P1: 9}, (), 1.0)
    problem = silence.problem({P0: still, P1: still}, {P0: 9, P1: 9}, (), LATE + 1.0)
    assert problem is not None
    assert problem.startswith("profile-changes[1]")
    assert problem.endswith("and 1 more partitions")
