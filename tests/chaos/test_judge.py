"""The judge of a chaos run finds each broken promise, and accepts what is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.chaos.destination import Exchange
from tests.chaos.judge import Findings, Life, judge
from tests.chaos.plan import Kind, make
from tests.chaos.traffic import Logged

USER = "+13110000001"


def logged(*versions: int) -> list[Logged]:
    """A user's changes, one a second."""
    return [Logged(0, number, float(number), USER, {"version": number}) for number in versions]


def sent(life: str, version: int, at: float, *, until: float | None = None, status: int | None = 200) -> Exchange:
    ended = at + 0.1 if until is None else until
    return Exchange(at, life, USER, {"version": version}, status, applied=status == 200, ended_at=ended)


def judged(exchanges: Sequence[Exchange], assigned: dict[str, list[float]], final: int = 3) -> Findings:
    lives = {name: Life(name, at) for name, at in assigned.items()}
    return judge(exchanges, logged(1, 2, 3), {USER: {"version": final}}, lives)


def test_one_owner_that_sends_in_order_breaks_no_promise() -> None:
    found = judged([sent("a", 1, 2), sent("a", 3, 4)], {"a": [0.0]})
    assert not found.broken
    assert found.repeated == 0
    assert found.age_seconds_max == 2  # version 2 came at 2 and went with version 3 at 4


def test_a_new_owner_may_send_the_uncommitted_range_again() -> None:
    found = judged([sent("a", 1, 2), sent("a", 3, 4), sent("b", 1, 11), sent("b", 3, 12)], {"a": [0.0], "b": [10.0]})
    assert not found.broken
    assert found.repeated == 2


def test_a_former_owner_that_sends_is_a_regression() -> None:
    found = judged([sent("a", 1, 2), sent("b", 3, 11), sent("a", 2, 12)], {"a": [0.0], "b": [10.0]}, final=2)
    assert len(found.stale) == 1
    assert len(found.lost) == 1
    assert len(found.broken) == 2


def test_a_former_owner_that_was_assigned_the_partition_again_may_send() -> None:
    found = judged([sent("a", 1, 2), sent("b", 2, 11), sent("a", 3, 14)], {"a": [0.0, 13.0], "b": [10.0]})
    assert not found.broken


def test_a_step_back_within_an_assignment_is_found() -> None:
    found = judged([sent("a", 2, 2), sent("a", 1, 3), sent("a", 3, 4)], {"a": [0.0]})
    assert len(found.steps_back) == 1


def test_an_overlap_is_found_unless_the_older_ones_sender_is_frozen() -> None:
    exchanges = [sent("a", 1, 2, until=20.0, status=None), sent("b", 3, 11)]
    lives = {"a": Life("a", [0.0]), "b": Life("b", [10.0])}
    state = {USER: {"version": 3}}
    assert len(judge(exchanges, logged(1, 3), state, lives).overlaps) == 1
    lives["a"].frozen.append((1.5, 19.0))
    found = judge(exchanges, logged(1, 3), state, lives)
    assert not found.broken
    assert found.overlaps_of_frozen == 1


def test_a_seed_makes_the_same_plan_every_time_and_it_holds_every_kind() -> None:
    plan = make(7, 300)
    assert plan == make(7, 300)
    assert {fault.kind for fault in plan} == set(Kind)
    assert all(early.at <= late.at for early, late in itertools.pairwise(plan))
    assert plan[-1].at + plan[-1].seconds <= 300
