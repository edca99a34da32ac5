"""An Entry: the ordered changes of one user since the last call, and their fold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import TypeAlias

from worker.core.delivery.isolation import Isolation
from worker.core.model import Headers, LostAttribute, Scalar, Source, User, UserKey, headers_bytes
from worker.core.waiting.ledger import Ledger

# What one object of each kind takes beyond the strings it refers to, in bytes: CPython 3.11 with allocator
# overhead, measured by filling a window with a million of them. The budget is kept by these.
ENTRY_BYTES = 900
CHANGE_BYTES = 260
ITEM_BYTES = 180

_OldValue: TypeAlias = tuple[type, Scalar, Ledger]  # a value, and the partition that it came by


class Change:
    """What a record says about one user, without its attributes: the entry keeps those, by name."""

    __slots__ = ("headers", "ledger", "occurred_at_ms", "record_key", "source", "uses")

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        *,
        occurred_at_ms: int | None = None,
        record_key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        self.ledger = ledger
        self.source = source
        self.occurred_at_ms = occurred_at_ms
        self.record_key = record_key
        self.headers = headers
        self.uses = 0  # values that came by this change and are still kept

    def release(self) -> int:
        """Drops one of its values. Returns the bytes that this frees, as a number below 0."""
        self.uses -= 1
        return 0 if self.uses else -self.size_bytes

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        content = len(self.record_key or b"") + len(self.source.event_id or "")
        return CHANGE_BYTES + content + (headers_bytes(self.headers) if self.headers else 0)


class Item:
    """An attribute's newest value, and the distinct older values to fall back on if it is refused.

    Of a partition's equal older values only the latest is kept: what the destination refused once it refuses again.
    Equal values of two partitions are both kept, since either partition may go away.
    """

    __slots__ = ("change", "older", "value")

    def __init__(self, value: Scalar, change: Change) -> None:
        self.value = value
        self.change = change
        self.older: dict[_OldValue, Change] | None = None
        change.uses += 1

    def supersede(self, value: Scalar, change: Change) -> int:
        """Takes a newer value. Returns by how many bytes the item grew, without the change itself."""
        change.uses += 1
        if self.has(value) and change.ledger is self.change.ledger:
            freed, self.change = self.change.release(), change
            return freed
        older = self.older = {} if self.older is None else self.older
        known = len(older)
        previous = (type(self.value), self.value, self.change.ledger)
        # The previous value is re-inserted, so that the order is the order of the last occurrence.
        gone = [older.pop(previous, None), older.pop((type(value), value, change.ledger), None)]
        older[previous] = self.change
        self.value, self.change = value, change
        freed = sum(each.release() for each in gone if each is not None)
        return freed + (len(older) - known) * (ITEM_BYTES + sys.getsizeof(value))

    def has(self, value: Scalar) -> bool:
        """Whether this is the newest value as the destination sees it: True is not 1 there."""
        return value == self.value and type(value) is type(self.value)

    def history(self) -> Iterator[tuple[Scalar, Change]]:
        """Every value that is kept, the newest last."""
        for (_, value, _), change in (self.older or {}).items():
            yield value, change
        yield self.value, self.change

    def step_back(self) -> bool:
        """Replaces the refused newest value by the one before it. False where there is none."""
        refused = (type(self.value), self.value)
        self.older = {old: change for old, change in (self.older or {}).items() if old[:2] != refused}
        return self._step_back()

    def forget(self, ledger: Ledger) -> bool:
        """Drops every value that came by `ledger`; False where nothing is left."""
        if self.older:
            self.older = {old: change for old, change in self.older.items() if change.ledger is not ledger}
        return self.change.ledger is not ledger or self._step_back()

    def _step_back(self) -> bool:
        if not self.older:
            return False
        (_, self.value, _), self.change = self.older.popitem()
        return True


class Place(Enum):
    """Where an entry stands. The window's queues may hold stale references: only the place counts."""

    WINDOW = auto()  # absorbing, waiting for its window to end
    BLOCKED = auto()  # absorbing, due, and a call of the same user is in flight
    READY = auto()  # absorbing, due, next in line
    RETRY = auto()  # waiting out a back-off
    IN_FLIGHT = auto()  # a call is on its way
    POSTED = auto()  # nothing is left to send; its dead letters wait for their acknowledgements
    GONE = auto()  # settled, merged into another entry, or its partitions went away


class Entry:
    """The changes of one user that the next call carries.

        entry = Entry(key, user, opened_at=100.0)
        entry.absorb(user, first_change, {"tier": "silver", "age": 40})
        entry.absorb(user, second_change, {"tier": "gold"})
        entry.fold()  # {"tier": "gold", "age": 40}
        entry.settle()  # delivered: the ledgers of both changes may move on

    Attributes:
        opened_at: when its first change arrived, in monotonic seconds.
        not_before: no call before this instant (a back-off), in monotonic seconds.
        oldest_ms: the timestamp of its first change's record, in milliseconds since the epoch.
        delivered: whether any of it reached the destination.
        calls: requests made for it so far.
        answered: those of them that the destination took or refused; the others tell nothing about what they carried.
        failures: calls in a row that failed in a way that is worth another try.
        failing_since: the first of these, in monotonic seconds.
        successes_when_failing: how many calls had succeeded, for anyone, at that instant.
        isolation: the search for refused attributes, while there is one.
        size_bytes: what it takes in memory.
        pending_letters: dead letters that must be acknowledged before it is settled.
        holds: for each ledger, the lowest of the entry's offsets: the ledger holds it until the entry is settled.
    """

    __slots__ = (
        "answered",
        "calls",
        "changes",
        "delivered",
        "failing_since",
        "failures",
        "holds",
        "isolation",
        "items",
        "key",
        "not_before",
        "oldest_ms",
        "opened_at",
        "pending_letters",
        "place",
        "size_bytes",
        "successes_when_failing",
        "user",
    )

    def __init__(self, key: UserKey, user: User, opened_at: float) -> None:
        self.key = key
        self.user = user
        self.opened_at = opened_at
        self.not_before = opened_at
        self.place = Place.WINDOW
        self.items: dict[str, Item] = {}
        self.holds: dict[Ledger, int] = {}
        self.changes = 0
        self.oldest_ms = 0
        self.delivered = False
        self.calls = 0
        self.answered = 0
        self.failures = 0
        self.failing_since = 0.0
        self.successes_when_failing = 0
        self.pending_letters = 0
        self.isolation: Isolation | None = None
        self.size_bytes = ENTRY_BYTES

    def absorb(self, user: User, change: Change, attributes: Mapping[str, Scalar]) -> None:
        """Takes in a newer change of the same user. Its offset is held, unless a lower one of its partition is."""
        ledger, offset = change.ledger, change.source.offset
        lowest = self.holds.get(ledger)
        if lowest is None or offset < lowest:
            ledger.hold(offset, change.source.timestamp_ms)
            self._answer_for(ledger, offset)
        self.user = user
        if not self.changes:
            self.oldest_ms = change.source.timestamp_ms
        self.changes += 1
        size = change.size_bytes
        items = self.items
        for name, value in attributes.items():
            item = items.get(name)
            if item is None:
                items[name] = Item(value, change)
                size += ITEM_BYTES + len(name) + sys.getsizeof(value)
            else:
                size += item.supersede(value, change)
        self.size_bytes += size

    def merge(self, newer: Entry) -> None:
        """Takes in the user's next entry, so that one call carries both; `newer` is empty afterwards."""
        self.user = newer.user
        self.changes += newer.changes
        self.size_bytes += newer.size_bytes - ENTRY_BYTES
        for name, item in newer.items.items():
            mine = self.items.get(name)
            if mine is None:
                self.items[name] = item
                continue
            for value, change in item.history():
                # The value's bytes came with the newer entry's size. Only what it frees of this entry is new.
                self.size_bytes += min(0, mine.supersede(value, change))
                change.release()
        for ledger, offset in newer.holds.items():
            self._answer_for(ledger, offset)
        newer.items, newer.holds, newer.place = {}, {}, Place.GONE

    def _answer_for(self, ledger: Ledger, offset: int) -> None:
        """Takes a hold over. The lower of two stands for both (it is the newer one where the log went back)."""
        known = self.holds.get(ledger)
        if known is None:
            self.holds[ledger] = offset
            return
        self.holds[ledger] = min(known, offset)
        ledger.settle(max(known, offset))

    @property
    def is_wanted(self) -> bool:
        """False once it is settled or merged, or all its partitions went away."""
        return self.place is not Place.GONE

    def fold(self) -> dict[str, Scalar]:
        """The last value of every attribute that is neither delivered nor refused."""
        return {name: item.value for name, item in self.items.items()}

    def forget(self, ledger: Ledger) -> None:
        """The partition went away: what came by it is the next owner's to send."""
        self.holds.pop(ledger, None)
        self.items = {name: item for name, item in self.items.items() if item.forget(ledger)}

    def settle(self) -> None:
        """Everything in it is delivered, superseded or a written dead letter."""
        for ledger, offset in self.holds.items():
            ledger.settle(offset)
        self.holds = {}
        self.place = Place.GONE

    def sources(self, names: Iterable[str]) -> tuple[Source, ...]:
        """The records that the named attributes' values come from, each once, in order of arrival."""
        return tuple(dict.fromkeys(self.items[name].change.source for name in names))

    def lost(self, name: str) -> LostAttribute:
        """The named attribute as a dead letter carries it."""
        item = self.items[name]
        source = item.change.source
        return LostAttribute(
            name, item.value, item.change.occurred_at_ms, partition=source.partition.number, offset=source.offset
        )
