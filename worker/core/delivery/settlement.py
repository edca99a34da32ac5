"""What happens to an entry after its call: it goes back into the window, or is settled."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.facts import Delivered, Facts
from worker.core.model import Call, Now
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.sparing import Sparing
from worker.core.waiting.window import Window


class Settlement:
    """Retries and settles entries. Only through it do the schedule and the judge end an entry's stay in the window."""

    def __init__(self, window: Window, sparing: Sparing, totals: Totals, facts: Facts) -> None:
        self._window = window
        self._sparing = sparing
        self._totals = totals
        self._facts = facts

    def delivered(self, entry: Entry, call: Call, started_at: float) -> None:
        """The destination has what the call carried: that is remembered, and no longer to be sent."""
        self._sparing.delivered(entry, call, started_at)
        if entry.trial.isolation is None:  # then it carried all that there is
            entry.finish()
        else:
            entry.done(call.properties.keys())

    def retry(self, entry: Entry, not_before: float) -> None:
        """Retries the whole call. Drops an isolation that has learned nothing, so that newer changes can join."""
        trial = entry.trial
        if trial.isolation is not None and not trial.isolation.has_learned:
            trial.isolation = None
        self._window.retry(entry, not_before)

    def orphan_call_ended(self, entry: Entry) -> None:
        """The call of an entry whose partitions were dropped has ended: unblocks the user's next entry."""
        self._window.orphan_call_ended(entry)

    def conclude(self, entry: Entry, now: Now) -> None:
        """The entry's call ended: sends what is left next. If nothing is left, settles the entry.

        If dead letters are not acknowledged yet, `letter_written` settles it later.
        """
        trial = entry.trial
        if trial.isolation is not None and not trial.isolation.names:
            trial.isolation = None
        if not entry.is_empty:
            self._window.retry(entry, now.mono)
        else:
            entry.place = Place.AWAITING_LETTERS
            self._settle_if_done(entry, now)

    def letter_written(self, entry: Entry, now: Now) -> None:
        """The topic acknowledged one of the entry's dead letters: settles the entry if it was the last one."""
        entry.trial.pending_letters -= 1
        self._settle_if_done(entry, now)

    def _settle_if_done(self, entry: Entry, now: Now) -> None:
        trial = entry.trial
        if entry.place is not Place.AWAITING_LETTERS or trial.pending_letters:
            return
        if trial.delivered:
            self._totals.delivered_entries += 1
            age_seconds = max(0.0, (now.wall_ms - entry.oldest_ms) / 1000)
            self._facts.tell(Delivered(entry.count, trial.calls, age_seconds))
        self._totals.calls_saved += max(0, entry.count - trial.calls)
        self._window.settle(entry)


@dataclass(frozen=True, slots=True, eq=False)
class EntryOwner:
    """An entry as the owner of a dead letter: see `outbox.Owner`."""

    entry: Entry
    settlement: Settlement

    @property
    def is_wanted(self) -> bool:
        """False once all the entry's partitions were dropped."""
        return self.entry.is_wanted

    def letter_written(self, now: Now) -> None:
        """One letter fewer to wait for; the last one settles the entry."""
        self.settlement.letter_written(self.entry, now)
