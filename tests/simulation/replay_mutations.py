"""Deliberate faults of a replay: each breaks one of the rules that make it safe beside live workers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tests.simulation.sparing_mutations import Mutation
from worker.core.model import Now
from worker.core.replay.freshness import Freshness
from worker.core.replay.index import Index
from worker.core.replay.replay import Phase, Replay
from worker.core.replay.subject import Stage


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
        original(self, *scope, **{**options, "doubtful": ()})  # type: ignore[arg-type]  # as it was given

    patch.setattr(Index, "__init__", init)


ALL: Sequence[Mutation] = (
    skips_rule_1,
    writes_calls_that_are_old,
    skips_rule_2,
    verifies_with_what_was_read_before,
    forgets_for_whom_calls_were_made,
)
