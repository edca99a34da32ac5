"""Partitions that only one of the client and the membership holds: for how long that may be."""

from __future__ import annotations

from worker.core.facts import AssignmentDiffers
from worker.core.model import Partition
from worker.live.agreement import PATIENCE_SECONDS, Agreement

P0, P1, P2 = (Partition("changes", number) for number in range(3))


def test_a_short_disagreement_is_nothing() -> None:
    agreement = Agreement()
    assert agreement.compare({P0}, {P0, P1}, 0.0) is None
    assert agreement.compare({P0}, {P0, P1}, PATIENCE_SECONDS - 0.1) is None
    assert agreement.compare({P0, P1}, {P0, P1}, PATIENCE_SECONDS) is None
    assert agreement.compare({P0}, {P0, P1}, PATIENCE_SECONDS + 1.0) is None, "it counts anew"
    assert agreement.problem is None


def test_a_long_one_is_told_until_both_agree() -> None:
    agreement = Agreement()
    agreement.compare({P0, P2}, {P1, P2}, 100.0)
    assert agreement.compare({P0, P2}, {P1, P2}, 100.0 + PATIENCE_SECONDS) == AssignmentDiffers(1, 1, PATIENCE_SECONDS)
    assert agreement.problem is not None
    assert agreement.problem.startswith("2 partitions not read (changes[0], changes[1] ...)")
    assert agreement.compare({P2}, {P2}, 120.0) is None
    assert agreement.problem is None


def test_each_new_assignment_is_waited_for_twice_as_long() -> None:
    agreement, now = Agreement(), 0.0
    agreement.compare(set(), {P0}, now)
    for patience in (15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0):
        assert agreement.compare(set(), {P0}, now + patience - 0.1) is None
        now += patience
        assert agreement.compare(set(), {P0}, now) == AssignmentDiffers(1, 0, patience)
