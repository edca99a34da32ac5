"""What a drain owes: it does not wait in vain, it calls what backs off, and it does not call done what it lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.plan import DRAIN_SECONDS
from tests.simulation.promises import PromiseBroken
from worker.core.facts import DrainOutcome
from worker.core.waiting.entry import Place
from worker.live.drain import Drain

if TYPE_CHECKING:
    from tests.simulation.member import Member


_UNSENT = {Place.WINDOW, Place.READY, Place.RETRY}


class Vigil:
    """Watches the drains of one worker."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._losses = 0  # how often its partitions became another's
        self._losses_before: dict[Drain, int] = {}
        self._calls_before: dict[Drain, int] = {}
        self._unsent: set[Drain] = set()  # of those that began with something to send

    def begun(self, drain: Drain) -> None:
        """A drain is about to take its first step."""
        self._losses_before[drain] = self._losses
        engine = self._member.engine
        self._calls_before[drain] = engine.totals.calls - engine.in_flight
        has_time = drain.deadline - drain.begun.mono > DRAIN_SECONDS / 2  # a revoke amid a stop may have less
        if has_time and not engine.status(drain.begun).throttled and self._has_unsent(drain):
            self._unsent.add(drain)

    def _has_unsent(self, drain: Drain) -> bool:
        engine = self._member.engine  # its window and its ledgers have no public list
        leaving = {engine._ledgers[partition] for partition in drain.partitions}
        return any(entry.place in _UNSENT and leaving & entry.holds.keys() for entry in engine._window.entries())

    def lost(self) -> None:
        """What the worker held, if anything, is another's."""
        self._losses += bool(self._member.group.held)

    def goes_on(self) -> None:
        """A drain has no outcome yet: something must be left that could end by waiting."""
        engine = self._member.engine
        if not (engine.open_entries or engine.in_flight or engine.letters_waiting):
            raise PromiseBroken("drain", f"{self._member} waits for what cannot end")

    def ended(self, drain: Drain, now: float) -> None:
        """A drain has an outcome."""
        lost = self._losses - self._losses_before.pop(drain)
        calls = self._member.engine.totals.calls - self._calls_before.pop(drain)
        if lost and drain.outcome is DrainOutcome.DONE:
            raise PromiseBroken("drain", f"{self._member} calls a drain done whose partitions were lost")
        asked_to_wait = self._member.senders.closedness.wait_until > drain.begun.mono
        if drain in self._unsent and now >= drain.deadline and not calls and not asked_to_wait:
            raise PromiseBroken("drain", f"{self._member} let a drain's deadline come without a call")
        self._unsent.discard(drain)
