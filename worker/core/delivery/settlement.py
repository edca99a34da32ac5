"""Where an entry goes once its call has ended: back into the window, or out of it for good."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.facts import Delivered, Facts
from worker.core.model import Now
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.window import Window


class Settlement:
    """Ends calls and entries. The schedule and the judge use it; neither touches the window's books otherwise."""

    def __init__(self, window: Window, totals: Totals, facts: Facts) -> None:
        self._window = window
        self._totals = totals
        self._facts = facts

    def call_again(self, entry: Entry, not_before: float) -> None:
        """The call is made again. A search that learned nothing yet is dropped, so that newer changes can join."""
        if entry.isolation is not None and not entry.isolation.begun:
            entry.isolation = None
        self._window.retry(entry, not_before)

    def orphan_ended(self, entry: Entry) -> None:
        """The call of an entry ended whose partitions went away: its user's next entry may go."""
        self._window.call_ended(entry)

    def conclude(self, entry: Entry, now: Now) -> None:
        """The entry's call has ended: what is left of it is sent next; if nothing is, the entry is settled."""
        if entry.isolation is not None and not entry.isolation.names:
            entry.isolation = None
        if entry.items:
            self._window.retry(entry, now.mono)
        else:
            entry.place = Place.POSTED
            self._settle_if_done(entry, now)

    def letter_written(self, entry: Entry, now: Now) -> None:
        """The topic acknowledged one of the entry's dead letters."""
        entry.pending_letters -= 1
        self._settle_if_done(entry, now)

    def _settle_if_done(self, entry: Entry, now: Now) -> None:
        if entry.place is not Place.POSTED or entry.pending_letters:
            return
        if entry.delivered:
            self._totals.delivered_entries += 1
            age_seconds = max(0.0, (now.wall_ms - entry.oldest_ms) / 1000)
            self._facts.tell(Delivered(entry.changes, entry.calls, age_seconds))
        self._totals.calls_saved += max(0, entry.changes - entry.calls)
        self._window.settle(entry)


@dataclass(frozen=True, slots=True, eq=False)
class EntryOwner:
    """An entry as the owner of one dead letter: see `Owner`."""

    entry: Entry
    settlement: Settlement

    @property
    def is_wanted(self) -> bool:
        """False once all partitions that brought the entry's changes went away."""
        return self.entry.is_wanted

    def letter_written(self, now: Now) -> None:
        """One letter less to wait for; the last one settles the entry."""
        self.settlement.letter_written(self.entry, now)
