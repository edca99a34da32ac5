"""Deliberate faults of a replay: each breaks one of the rules that make it safe beside live workers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tests.simulation.mutations import Mutation
from worker.core.model import Now
from worker.core.replay.freshness import Freshness
from worker.core.replay.index import Index
from worker.core.replay.replay import Phase, Progress, Replay
from worker.core.replay.subject import Stage
from worker.jobs.diary import Diary
from worker.jobs.replay import ReplayJob


def skips_rule_1(patch: pytest.MonkeyPatch) -> None:
    """A call starts, and is written, however long ago the log was read to its end."""

    def may_call(self: Replay, _: Now) -> bool:
        return self.phase is Phase.SENDING

    patch.setattr(Replay, "may_call", may_call)
    patch.setattr(Freshness, "write_by", math.inf)


def writes_calls_that_are_old(patch: pytest.MonkeyPatch) -> None:
    """A process that slept before it wrote a call writes it when it wakes."""
    patch.setattr(Freshness, "write_by", math.inf)


def skips_rule_2(patch: pytest.MonkeyPatch) -> None:
    """A user is done with the reply: nobody looks whether a newer value has appeared."""

    def verify(self: Replay) -> None:
        for subject in [each for each in self._begun if each.stage is Stage.VERIFYING]:
            self._begun.remove(subject)
            self._end(subject)

    patch.setattr(Replay, "_verify", verify)


def verifies_with_what_was_read_before(patch: pytest.MonkeyPatch) -> None:
    """After the reply, an end from a little before it will do."""
    original = Replay._take_settled

    def take_settled(self: Replay, now: Now) -> None:
        original(self, Now(now.mono - 1.0, now.wall_ms))

    patch.setattr(Replay, "_take_settled", take_settled)


def forgets_for_whom_calls_were_made(patch: pytest.MonkeyPatch) -> None:
    """Whoever goes on after a kill trusts that a call that is not known to have ended was never made."""
    original = Index.__init__

    def init(self: Index, *scope: object, **options: object) -> None:
        original(self, *scope, **{**options, "doubtful": lambda _: False})  # type: ignore[arg-type]  # as it was given

    patch.setattr(Index, "__init__", init)


def calls_before_that_is_written_down(patch: pytest.MonkeyPatch) -> None:
    """Calls start before progress names their users."""
    original = Replay.step

    def step(self: Replay, now: Now) -> None:
        self.kept(self.progress)
        original(self, now)
        self.kept(self.progress)

    patch.setattr(Replay, "step", step)


def forgets_who_is_to_be_verified(patch: pytest.MonkeyPatch) -> None:
    """Whoever goes on takes delivered users for done."""
    original = Replay.__init__

    def init(self: Replay, *parts: object, **options: object) -> None:
        engine, scope, progress, max_bytes = parts
        assert isinstance(progress, Progress)
        bare = Progress(progress.begun, progress.open, frozenset(), progress.done)
        original(self, engine, scope, bare, max_bytes, **options)  # type: ignore[arg-type]  # as they were given

    patch.setattr(Replay, "__init__", init)


def runs_ahead_of_its_notes(patch: pytest.MonkeyPatch) -> None:
    """It goes on calling while what was delivered is not written down."""
    original = Diary.turn

    def turn(self: Diary, progress: Progress, marked: int) -> None:
        original(self, progress, marked)
        self.unsaved = 0

    patch.setattr(Diary, "turn", turn)


def ends_before_its_last_note(patch: pytest.MonkeyPatch) -> None:
    """It is over when all is delivered, written down or not."""
    patch.setattr(ReplayJob, "is_over", property(lambda job: job._replay.phase is Phase.DONE))


ALL: Sequence[Mutation] = (
    skips_rule_1,
    writes_calls_that_are_old,
    skips_rule_2,
    verifies_with_what_was_read_before,
    forgets_for_whom_calls_were_made,
    calls_before_that_is_written_down,
    forgets_who_is_to_be_verified,
    runs_ahead_of_its_notes,
    ends_before_its_last_note,
)
