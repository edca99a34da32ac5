"""The entries that wait for their call, in the order in which they become due.

A user has at most one entry that absorbs changes and at most one whose call is in flight. An entry that must be tried
again absorbs the user's newer changes, so that an outage's backlog shrinks in calls.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count

from worker.core.model import Scalar, User, UserKey
from worker.core.waiting.entry import Change, Entry, Place
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory


class Window:
    """Keeps every entry from its first change until it is settled. Every instant is in monotonic seconds.

    window = Window(5.0, memory)
    window.absorb(key, user, change, {"tier": "gold"}, now=100.0)
    window.take(104.9)  # None: its window has not ended
    entry = window.take(105.0)  # in flight: the user's later changes open the next entry
    window.settle(entry)  # or window.retry(entry, not_before=107.0)
    """

    def __init__(self, seconds: float, memory: Memory) -> None:
        """`seconds`: from a user's first waiting change to the call; 0 makes an entry due at once."""
        self._seconds = seconds
        self._memory = memory
        self._absorbing: dict[UserKey, Entry] = {}
        self._busy: dict[UserKey, Entry] = {}
        # The window is the same for all, so entries become due in the order in which they were opened.
        self._waiting: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._retries: list[tuple[float, int, Entry]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._absorbing) + len(self._busy)

    def absorb(self, key: UserKey, user: User, change: Change, attributes: Mapping[str, Scalar], now: float) -> bool:
        """Takes a user's change into the entry that waits for it. Returns whether that entry spans partitions."""
        entry = self._absorbing.get(key)
        before = 0
        if entry is None:
            entry = self._absorbing[key] = Entry(key, user, now)
            self._waiting.append(entry)
        else:
            before = entry.size_bytes
        entry.absorb(user, change, attributes)
        self._memory.add(entry.size_bytes - before)
        return len(entry.holds) > 1

    def take(self, now: float, *, hurry: bool = False) -> Entry | None:
        """The next entry that is due, now in flight; None where none is.

        With `hurry` an entry is due before its window has ended: memory is short.
        """
        entry = self._due_retry(now) or self._first_ready() or self._first_due(now, hurry=hurry)
        return None if entry is None else self._take_off(entry)

    def take_probe(self, now: float) -> Entry | None:
        """The entry by which a closed gate is probed, now in flight.

        First an entry that is due and was not tried yet; else the one whose back-off ends first, ended or not. So no
        single user can keep the gate closed.
        """
        entry = self._first_ready() or self._first_due(now, hurry=False) or self._due_retry(math.inf)
        return None if entry is None else self._take_off(entry)

    def retry(self, entry: Entry, not_before: float) -> None:
        """The entry's call is made again, together with whatever came for the user meanwhile.

        While refused attributes are searched the entry takes nothing in: it stays the user's busy one.
        """
        entry.not_before = not_before
        entry.place = Place.RETRY
        if entry.isolation is None:
            del self._busy[entry.key]
            newer = self._absorbing.get(entry.key)
            if newer is not None:
                before = entry.size_bytes + newer.size_bytes
                entry.merge(newer)
                self._memory.add(entry.size_bytes - before)
            self._absorbing[entry.key] = entry
        heapq.heappush(self._retries, (not_before, next(self._order), entry))

    def settle(self, entry: Entry) -> None:
        """The entry is done: its offsets are settled, and the user's next entry may go."""
        entry.settle()
        self._release(entry)

    def make_due(self, ledgers: Iterable[Ledger]) -> None:
        """Every waiting entry with an offset of these is due at once: their partitions are about to go away."""
        leaving = set(ledgers)
        due = [entry for entry in self._waiting if entry.place is Place.WINDOW and not leaving.isdisjoint(entry.holds)]
        for entry in due:
            self._line_up(entry)

    def end_backoff(self, ledgers: Iterable[Ledger]) -> None:
        """Every entry with an offset of these that waits to be tried again is due at once."""
        leaving = set(ledgers)
        current = [item for item in self._retries if _is_current(item)]
        for _, _, entry in current:
            if not leaving.isdisjoint(entry.holds):
                entry.not_before = -math.inf
        self._retries = [(entry.not_before, order, entry) for _, order, entry in current]
        heapq.heapify(self._retries)

    def forget(self, ledger: Ledger) -> list[Entry]:
        """The partition went away: what came by it is dropped. Returns the entries in flight that have nothing left.

        They keep their users busy until `call_ended`: the destination may still be working on the call, and must not
        get a newer value before the older one.
        """
        orphans = []
        known = len(self)
        for entry in list(self.entries()):
            if ledger not in entry.holds:
                continue
            entry.forget(ledger)
            if entry.holds:
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

    def call_ended(self, orphan: Entry) -> None:
        """The call ended of an entry whose partitions went away: the user's next entry may go."""
        self._release(orphan)

    def entries(self) -> Iterator[Entry]:
        """Every entry that is not settled, those included whose partitions went away while a call was in flight."""
        return chain(self._absorbing.values(), self._busy.values())

    def next_due(self, *, probing: bool = False) -> float:
        """The earliest instant at which an entry becomes due by time alone; infinite where none does.

        With `probing`, a back-off does not count: `take_probe` would take the entry.
        """
        self._drop_stale()
        if self._ready or (probing and self._retries):
            return -math.inf
        due = self._waiting[0].opened_at + self._seconds if self._waiting else math.inf
        return min(due, self._retries[0][0] if self._retries else math.inf)

    def _sweep(self) -> None:
        """Removes stale places: behind one entry that waits for long they would pile up."""
        self._ready = deque(entry for entry in self._ready if entry.place is Place.READY)
        self._waiting = deque(entry for entry in self._waiting if entry.place is Place.WINDOW)
        self._retries = [item for item in self._retries if _is_current(item)]
        heapq.heapify(self._retries)

    def _drop_stale(self) -> None:
        while self._ready and self._ready[0].place is not Place.READY:
            self._ready.popleft()
        while self._waiting and self._waiting[0].place is not Place.WINDOW:
            self._waiting.popleft()
        while self._retries and not _is_current(self._retries[0]):
            heapq.heappop(self._retries)

    def _take_off(self, entry: Entry) -> Entry:
        entry.place = Place.IN_FLIGHT
        if self._absorbing.get(entry.key) is entry:
            del self._absorbing[entry.key]
        self._busy[entry.key] = entry
        return entry

    def _release(self, entry: Entry) -> None:
        """The entry leaves. If the user's next entry waited for it, that one lines up."""
        self._memory.add(-entry.size_bytes)
        if self._absorbing.get(entry.key) is entry:
            del self._absorbing[entry.key]
            return
        if self._busy.get(entry.key) is entry:
            del self._busy[entry.key]
        blocked = self._absorbing.get(entry.key)
        if blocked is not None and blocked.place is Place.BLOCKED:
            self._line_up(blocked)

    def _line_up(self, entry: Entry) -> None:
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

    def _first_ready(self) -> Entry | None:
        while self._ready:
            entry = self._ready.popleft()
            if entry.place is Place.READY:
                return entry
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


def _is_current(item: tuple[float, int, Entry]) -> bool:
    """Whether a place among the retries still means its entry: it may have been sent, merged or dropped since."""
    not_before, _, entry = item
    return entry.place is Place.RETRY and entry.not_before == not_before
