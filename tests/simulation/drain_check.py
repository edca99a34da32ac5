"""Checks on drains.

A drain must not wait when nothing can end the wait. It must call for entries that back off, before its deadline. It
must not end as DONE if its partitions were lost meanwhile.
"""

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


class DrainCheck:
    """Watches the drains of one worker."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._losses = 0  # how often the worker lost its partitions
        self._losses_before: dict[Drain, int] = {}
        self._calls_before: dict[Drain, int] = {}
        self._freezes_before: dict[Drain, int] = {}
        self._unsent: set[Drain] = set()  # drains that began with something to send

    def begun(self, drain: Drain) -> None:
        """A drain is about to take its first step."""
        self._losses_before[drain] = self._losses
        self._freezes_before[drain] = self._member.freezes
        engine = self._member.engine
        self._calls_before[drain] = engine.totals.calls - engine.in_flight
        has_time = drain.deadline - drain.begun.mono > DRAIN_SECONDS / 2  # a revoke amid a stop may have less
        if has_time and not engine.status(drain.begun).throttled and self._has_unsent(drain):
            self._unsent.add(drain)

    def _has_unsent(self, drain: Drain) -> bool:
        engine = self._member.engine  # private attributes: nothing else lists entries
        leaving = {engine._ledgers[partition] for partition in drain.partitions}
        return any(entry.place in _UNSENT and leaving & entry.holds.keys() for entry in engine._window.entries())

    def lost(self) -> None:
        """The worker has lost all partitions that it held."""
        self._losses += bool(self._member.group.held)

    def goes_on(self) -> None:
        """A drain goes on: an entry, a call or a letter must be left to wait for."""
        engine = self._member.engine
        if not (engine.open_entries or engine.in_flight or engine.letters_waiting):
            raise PromiseBroken("drain", f"{self._member} drains on with nothing left to wait for")

    def ended(self, drain: Drain, now: float) -> None:
        """A drain has an outcome."""
        lost = self._losses - self._losses_before.pop(drain)
        calls = self._member.engine.totals.calls - self._calls_before.pop(drain)
        frozen = self._member.freezes - self._freezes_before.pop(drain)
        if lost and drain.outcome is DrainOutcome.DONE:
            raise PromiseBroken("drain", f"{self._member} lost partitions during a drain and calls it done")
        asked_to_wait = self._member.senders.gate_check.wait_until > drain.begun.mono
        ended_early = now < drain.deadline and self._member.engine.halt is not None
        may_call = not (frozen or asked_to_wait or ended_early or drain.outcome is DrainOutcome.GONE)
        if drain in self._unsent and drain.outcome is not DrainOutcome.DONE and may_call and not calls:
            raise PromiseBroken("drain", f"{self._member} had entries to send and made no call in a whole drain")
        self._unsent.discard(drain)
