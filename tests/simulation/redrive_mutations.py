"""Deliberate faults of a redrive: each breaks one of the rules that make it safe beside live workers."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import pytest

from tests.simulation.sparing_mutations import Mutation
from worker.core.letters.folding import resolution_of
from worker.core.model import Letter, Now, Reason
from worker.core.replay.addressees import Addressee
from worker.core.replay.errand import Errand
from worker.core.replay.freshness import Freshness
from worker.core.replay.redrive import Redrive
from worker.core.replay.replay import Phase
from worker.core.replay.subject import Stage
from worker.jobs.redrive.live_workers import LiveWorkers


def skips_rule_1(patch: pytest.MonkeyPatch) -> None:
    """A call starts, and is written, however long ago the log was read to its end."""

    def may_call(self: Redrive, _: Now) -> bool:
        return self.phase is Phase.SENDING

    patch.setattr(Redrive, "may_call", may_call)
    patch.setattr(Freshness, "write_by", math.inf)


def skips_rule_2(patch: pytest.MonkeyPatch) -> None:
    """A letter is ended with the reply: nobody looks whether a newer value has appeared."""

    def verify(self: Redrive, now: Now) -> None:
        for user in [each for each in self._begun if each.stage is Stage.VERIFYING]:
            self._end_letter(user, now)

    patch.setattr(Redrive, "_verify", verify)


def begins_the_next_letter_before_one_is_ended(patch: pytest.MonkeyPatch) -> None:
    """The record that ends a letter is on its way, and the user's next one begins."""
    original = Redrive.written

    def resolve(self: Redrive, user: Addressee, now: Now) -> None:
        letter = resolution_of(user.errands[0].letter, user.outcome, now.wall_ms)
        heapq.heappush(self._due, (-math.inf, next(self._number), letter))
        self._ended(user, now)

    def written(self: Redrive, letter: Letter, now: Now) -> None:
        if letter.reason is not Reason.RESOLVED:
            original(self, letter, now)

    patch.setattr(Redrive, "_resolve", resolve)
    patch.setattr(Redrive, "written", written)


def trusts_letters_that_a_killed_process_has_begun(patch: pytest.MonkeyPatch) -> None:
    """A marked letter with a later change counts as superseded, whatever its call has set."""
    patch.setattr(Errand, "overtaken", lambda *_: None)


def asks_nobody_what_live_workers_have_committed(patch: pytest.MonkeyPatch) -> None:
    """A letter is sent as soon as it is there: a worker may still fall back on older values."""
    patch.setattr(LiveWorkers, "fault", lambda *_: None)


ALL: Sequence[Mutation] = (
    skips_rule_1,
    skips_rule_2,
    begins_the_next_letter_before_one_is_ended,
    trusts_letters_that_a_killed_process_has_begun,
    asks_nobody_what_live_workers_have_committed,
)
