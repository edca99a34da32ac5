"""The entries that wait for their call, in the order in which they become due.

A user has at most two entries: one absorbs changes, the other is busy (its call is in flight, or it is being searched
for refused attributes). An entry to retry absorbs the user's newer changes, so an outage's backlog shrinks in calls.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Final

from worker.core.model import UserKey
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory

LATE_SECONDS: Final = 1.0


class Window:
    """Keeps every entry from its first change until it is settled.

    Every instant is in monotonic seconds.

        window = Window(5.0, memory)
        window.absorb(key, change, now=100.0)
        window.take(104.9)  # None: its window has not ended
        entry = window.take(105.0)  # in flight: the user's later changes open the next entry
        window.settle(entry)  # or window.retry(entry, not_before=107.0)

    Attributes:
        absorbing: of each user the entry that takes in changes, by key. Only the window changes it.
    """

    def __init__(self, seconds: float, memory: Memory, *, search_yields: bool = False) -> None:
        """`seconds`: from a user's first waiting change to the call; 0 makes an entry due at once.

        `search_yields`: as in `Options`.
        """
        self._seconds = seconds
        self._memory = memory
        self._search_yields = search_yields
        self.absorbing: dict[bytes, Entry] = {}
        self._busy: dict[UserKey, Entry] = {}
        # All entries have the same window, so they become due in the order in which they were opened.
        self._waiting: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._continuing: deque[Entry] = deque()  # they go on at once: a search, or a call that was cut short
        self._retries: list[tuple[float, int, Entry]] = []  # they failed, and back off
        self._order = count()

    def __len__(self) -> int:
        return len(self.absorbing) + len(self._busy)

    def absorb(self, key: UserKey, change: Change, now: float) -> bool:
        """Adds a change to the user's absorbing entry, or opens one. Returns whether that entry spans partitions."""
        memory = self._memory
        entry = self.absorbing.get(key)
        if entry is None:
            entry = self.absorbing[key] = Entry(key, now)
            self._waiting.append(entry)
            entry.absorb(change)
            memory.add(entry.size_bytes)
        else:
            memory.add(entry.absorb(change, plentiful=memory.plentiful))
        busy = self._busy.get(key)
        if busy is not None:
            self._memory.add(busy.overtake(change.names))
            if self._search_yields and busy.place is Place.RETRY:
                self._end_search(busy)
        return entry.ledger is None

    def overtake(self, key: UserKey, names: Iterable[str]) -> None:
        """Later values of these attributes of a user were read, and became dead letters."""
        for entries in (self.absorbing, self._busy):
            if key in entries:
                self._memory.add(entries[key].overtake(names))

    def admit(self, entry: Entry) -> None:
        """Takes over an entry that was filled elsewhere. It is due at once. Its user must have no other entry here."""
        self.absorbing[entry.key] = entry
        self._memory.add(entry.size_bytes)
        self._queue(entry)

    def withdraw(self, key: UserKey) -> Entry | None:
        """Gives back the user's entry if no call was made for it. None if there is none, or a call is in flight."""
        entry = self.absorbing.get(key)
        if entry is None or entry.trial.calls or key in self._busy:
            return None
        entry.place = Place.GONE
        self._release(entry)
        return entry

    def take(
        self, now: float, *, hurry: bool = False, failed_first: bool = False, failed: bool = True, newest: bool = False
    ) -> Entry | None:
        """Marks the next due entry as in flight and returns it. None if none is due.

        Entries that failed go behind all others, unless `failed_first`, and not at all without `failed`. With `hurry`
        (memory is short), entries are due before their window ends. With `newest`, the newest entry goes first.
        """
        entry = self._due_retry(now) if failed_first else None
        entry = entry or (self._newest() if newest else None)
        entry = entry or self._next_continuing() or self._first_ready() or self._first_due(now, hurry=hurry)
        entry = entry or (self._due_retry(now) if failed else None)
        return None if entry is None else self._mark_in_flight(entry)

    def is_late(self, now: float) -> bool:
        """Whether an entry should have been taken some while ago: there are more than calls can be made for."""
        self._drop_stale()
        return bool(self._waiting) and self._waiting[0].opened_at + self._seconds + LATE_SECONDS <= now

    def take_probe(self) -> Entry | None:
        """Chooses the entry for a closed gate's probe, marks it as in flight and returns it.

        Prefers the newest entry that was never tried, even before its window ends: it has least in common with those
        that just failed. Else takes the retry whose back-off ends first, even if it has not ended. So no bad user, and
        no run of bad users, can keep the gate closed.
        """
        entry = self._newest() or self._first_ready() or self._next_continuing() or self._due_retry(math.inf)
        return None if entry is None else self._mark_in_flight(entry)

    def retry(self, entry: Entry, not_before: float) -> None:
        """Schedules the entry's next call, and merges the user's next entry into it.

        An entry in isolation merges nothing and stays the user's busy entry: new attributes would spoil the search.
        """
        entry.trial.not_before = not_before
        entry.place = Place.RETRY
        if entry.trial.isolation is None or (self._search_yields and entry.key in self.absorbing):
            self._end_search(entry)
        if entry.trial.trouble is None:
            self._continuing.append(entry)
        else:
            heapq.heappush(self._retries, (not_before, next(self._order), entry))

    def settle(self, entry: Entry) -> None:
        """The entry is done: settles its offsets and unblocks the user's next entry."""
        entry.settle()
        self._release(entry)

    def make_due(self, ledgers: Iterable[Ledger]) -> None:
        """A drain begins: every waiting entry with an offset in these ledgers is due at once."""
        leaving = set(ledgers)
        due = [
            entry for entry in self._waiting if entry.place is Place.WINDOW and not leaving.isdisjoint(entry.ledgers)
        ]
        for entry in due:
            self._queue(entry)

    def end_backoff(self, ledgers: Iterable[Ledger]) -> None:
        """A drain begins: every retry with an offset in these ledgers is due at once."""
        leaving = set(ledgers)
        current = [item for item in self._retries if _is_current(item)]
        for _, _, entry in current:
            if not leaving.isdisjoint(entry.ledgers):
                entry.trial.not_before = -math.inf
        self._retries = [(entry.trial.not_before, order, entry) for _, order, entry in current]
        heapq.heapify(self._retries)

    def forget(self, ledgers: set[Ledger]) -> list[Entry]:
        """Partitions were dropped: drops their changes. Returns the orphans: entries in flight with nothing left.

        One pass over the entries, however many partitions there are: it runs inside the group's rebalance callback.

        An orphan keeps its user busy until `orphan_call_ended`. The destination may still work on the call. If the
        user's next call overtook it, the older value would overwrite the newer one.
        """
        orphans = []
        known = len(self)
        for entry in list(self.entries()):
            if ledgers.isdisjoint(entry.ledgers):
                continue
            entry.forget(ledgers)
            if entry.ledgers:
                continue
            in_flight = entry.place is Place.IN_FLIGHT
            entry.place = Place.GONE
            if in_flight:
                orphans.append(entry)
            else:
                self._release(entry)
        if len(self) < known:
            self._sweep()
        return orphans

    def orphan_call_ended(self, orphan: Entry) -> None:
        """An orphan's call ended: unblocks the user's next entry."""
        self._release(orphan)

    def entries(self) -> Iterator[Entry]:
        """Every entry that is not settled, orphans included."""
        return chain(self.absorbing.values(), self._busy.values())

    def only_failing(self, ledgers: set[Ledger], now: float) -> bool:
        """Whether these ledgers have entries, all of users that fail while others succeed, and none is due again."""
        trials = [entry.trial for entry in self.entries() if not ledgers.isdisjoint(entry.ledgers)]
        return bool(trials) and all(
            trial.trouble is not None and trial.trouble.known and trial.not_before > now for trial in trials
        )

    def next_due(self, *, probing: bool = False) -> float:
        """When the next entry becomes due; infinite if none waits.

        With `probing`, neither window nor back-off counts: `take_probe` would take the entry.
        """
        self._drop_stale()
        if self._ready or self._continuing or (probing and (self._retries or self._waiting)):
            return -math.inf
        due = self._waiting[0].opened_at + self._seconds if self._waiting else math.inf
        return min(due, self._retries[0][0] if self._retries else math.inf)

    def _end_search(self, entry: Entry) -> None:
        """The entry is no longer busy with a search, if it was: it merges the user's newer changes, and absorbs."""
        entry.trial.isolation = None
        del self._busy[entry.key]
        newer = self.absorbing.get(entry.key)
        if newer is not None:
            before = entry.size_bytes + newer.size_bytes
            entry.merge(newer)
            self._memory.add(entry.size_bytes - before)
        self.absorbing[entry.key] = entry

    def _sweep(self) -> None:
        """Removes all stale queue items. `_drop_stale` sees only the heads: behind a valid one, others pile up."""
        self._ready = deque(entry for entry in self._ready if entry.place is Place.READY)
        self._continuing = deque(entry for entry in self._continuing if _continues(entry))
        self._waiting = deque(entry for entry in self._waiting if entry.place is Place.WINDOW)
        self._retries = [item for item in self._retries if _is_current(item)]
        heapq.heapify(self._retries)

    def _drop_stale(self) -> None:
        while self._ready and self._ready[0].place is not Place.READY:
            self._ready.popleft()
        while self._continuing and not _continues(self._continuing[0]):
            self._continuing.popleft()
        while self._waiting and self._waiting[0].place is not Place.WINDOW:
            self._waiting.popleft()
        while self._retries and not _is_current(self._retries[0]):
            heapq.heappop(self._retries)

    def _mark_in_flight(self, entry: Entry) -> Entry:
        entry.place = Place.IN_FLIGHT
        self._memory.add(entry.begin())
        if self.absorbing.get(entry.key) is entry:
            del self.absorbing[entry.key]
        self._busy[entry.key] = entry
        return entry

    def _release(self, entry: Entry) -> None:
        """Removes the entry. If the user's next entry was blocked by it, that one is ready now."""
        self._memory.add(-entry.size_bytes)
        if self.absorbing.get(entry.key) is entry:
            del self.absorbing[entry.key]
            return
        if self._busy.get(entry.key) is entry:
            del self._busy[entry.key]
        blocked = self.absorbing.get(entry.key)
        if blocked is not None and blocked.place is Place.BLOCKED:
            self._queue(blocked)

    def _queue(self, entry: Entry) -> None:
        if entry.key in self._busy:
            entry.place = Place.BLOCKED
            return
        entry.place = Place.READY
        self._ready.append(entry)

    def _due_retry(self, now: float) -> Entry | None:
        while self._retries and self._retries[0][0] <= now:
            item = heapq.heappop(self._retries)
            if _is_current(item):
                return item[2]
        return None

    def _next_continuing(self) -> Entry | None:
        while self._continuing:
            entry = self._continuing.popleft()
            if _continues(entry):
                return entry
        return None

    def _first_ready(self) -> Entry | None:
        while self._ready:
            entry = self._ready.popleft()
            if entry.place is Place.READY:
                return entry
        return None

    def _newest(self) -> Entry | None:
        while self._waiting:
            entry = self._waiting.pop()
            if entry.place is not Place.WINDOW:
                continue
            if entry.key not in self._busy:
                return entry
            entry.place = Place.BLOCKED
        return None

    def _first_due(self, now: float, *, hurry: bool) -> Entry | None:
        while self._waiting:
            entry = self._waiting[0]
            if entry.place is not Place.WINDOW:
                self._waiting.popleft()
                continue
            if not hurry and entry.opened_at + self._seconds > now:
                return None
            self._waiting.popleft()
            if entry.key not in self._busy:
                return entry
            entry.place = Place.BLOCKED
        return None


def _continues(entry: Entry) -> bool:
    """Whether an entry still stands among those that continue: it may have been merged or dropped since."""
    return entry.place is Place.RETRY and entry.trial.trouble is None


def _is_current(item: tuple[float, int, Entry]) -> bool:
    """Whether a queued retry is still valid: its entry may have been sent, merged or dropped since."""
    not_before, _, entry = item
    return entry.place is Place.RETRY and entry.trial.not_before == not_before
