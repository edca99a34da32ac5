"""What a repair sends, and when it gives up, without a broker or a destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import cast

import pytest

from tests.core.drive import P0, P1
from worker.core.facts import LetterWritten, Observer
from worker.core.model import Partition, Reason, Source, User, UserKey
from worker.core.replay.scope import Offsets, Scope
from worker.jobs.findings import Wrong
from worker.jobs.repair import Positions, Repair
from worker.jobs.replay import ReplayJob
from worker.jobs.sample import Last, Subject
from worker.jobs.standstill import STUCK_SECONDS
from worker.jobs.unfinished import Unfinished


def wrong(name: str, attribute: str, partition: Partition, offset: int) -> Wrong:
    key = UserKey("email", "", name)
    return Wrong(Subject(key, 0, User(email=name)), attribute, Last("x", Source(partition, offset, 0)))


class FakeJob:
    """A replay that takes some turns. Something may hold it up."""

    def __init__(self, turns: int, obstacle: str | None, *, moves: bool) -> None:
        self._turns = turns
        self._moves = moves
        self._turn = 0
        self.obstacle = obstacle

    @property
    def standing(self) -> tuple[str, int, int]:
        return "sending", self._turn if self._moves else 0, 10

    def run(self, stop_requested: Callable[[], bool]) -> bool:
        while self._turn < self._turns:
            self._turn += 1
            if stop_requested():
                return False
        return True


def repair(
    job: FakeJob, opened: list[tuple[Scope, Positions]] | None = None, *facts: LetterWritten, seconds: float = 30.0
) -> Repair:
    @contextmanager
    def open_replay(scope: Scope, starts: Positions, observer: Observer) -> Iterator[ReplayJob]:
        if opened is not None:
            opened.append((scope, starts))
        yield cast("ReplayJob", job)
        for fact in facts:
            observer.observe(fact)

    clock = count(0.0, seconds)
    return Repair(open_replay, lambda: next(clock))


def never() -> bool:
    return False


def test_it_reads_no_more_than_it_needs_and_chooses_exactly_the_values() -> None:
    opened: list[tuple[Scope, Positions]] = []
    differing = [wrong("a", "tier", P0, 40), wrong("a", "vip", P0, 40), wrong("b", "tier", P0, 70)]
    repair(FakeJob(1, None, moves=True), opened).send(differing, {P0: 100, P1: 30}, never)
    [(scope, starts)] = opened
    assert starts == {P0: 40, P1: 30}
    assert scope.offsets == {P0: Offsets(40, 100), P1: Offsets(30, 30)}
    assert scope.only == {(P0, 40): {"tier", "vip"}, (P0, 70): {"tier"}}
    assert [scope.covers(P0, offset) for offset in (40, 41, 70, 100)] == [True, False, True, False]


def test_it_tells_which_values_became_dead_letters() -> None:
    rejected = LetterWritten(Reason.REJECTED, ("tier",), 1, 0, P0, 70)
    others = LetterWritten(Reason.REJECTED, ("tier",), 1, 0, P1, 70)
    differing = [wrong("a", "tier", P0, 40), wrong("b", "tier", P0, 70), wrong("b", "vip", P0, 70)]
    job = FakeJob(1, None, moves=True)
    found = repair(job, None, rejected, others).send(differing, {P0: 100}, never)
    assert found == {(UserKey("email", "", "b"), "tier"): Reason.REJECTED}


def test_it_gives_up_if_something_holds_it_up_for_two_minutes() -> None:
    halted = FakeJob(1_000, "halted (unauthorized): status 401", moves=False)
    with pytest.raises(Unfinished, match=r"sending stands still: halted \(unauthorized\): status 401"):
        repair(halted).send([wrong("a", "tier", P0, 40)], {P0: 100}, never)


@pytest.mark.parametrize(
    "job",
    [
        FakeJob(100, "halted (unavailable): status 503", moves=True),  # it comes through now and then
        FakeJob(100, None, moves=False),  # a very low rate
    ],
)
def test_it_goes_on_while_it_moves_or_nothing_holds_it_up(job: FakeJob) -> None:
    assert repair(job).send([wrong("a", "tier", P0, 40)], {P0: 100}, never) == {}


def test_a_stop_is_no_standstill() -> None:
    halted = FakeJob(1_000, "halted (unauthorized): status 401", moves=False)
    slow = repair(halted, seconds=STUCK_SECONDS / 100)
    assert slow.send([wrong("a", "tier", P0, 40)], {P0: 100}, lambda: True) == {}
