"""An Entry: the ordered changes of one user since the last call, and their fold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import islice

from worker.core.delivery.isolation import Isolation
from worker.core.model import LostAttribute, Partition, Scalar, Source, User, UserKey
from worker.core.receipts.receipt import Positions
from worker.core.trace import TraceLink, link_of
from worker.core.waiting.change import ATTRIBUTE_BYTES, Attribute, Change
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.trouble import Trouble

ENTRY_BYTES = 750
"""Its size in memory without its strings and attributes; as those of `change`."""


class Place(Enum):
    """An entry's state. The window's queues may contain stale references: `place` is the truth."""

    WINDOW = auto()  # absorbing, waiting for its window to end
    BLOCKED = auto()  # absorbing, due, but the user's other entry is busy
    READY = auto()  # absorbing, due, in the queue for a call
    RETRY = auto()  # waiting for its back-off to end, then for a call
    IN_FLIGHT = auto()  # its call has no reply yet
    AWAITING_LETTERS = auto()  # nothing left to send; its dead letters are not acknowledged yet
    GONE = auto()  # settled, merged into another entry, or all its partitions were dropped


class Entry:
    """One user's changes for the next call.

        entry = Entry(key, user, opened_at=100.0)
        entry.absorb(user, first_change, {"tier": "silver", "age": 40})
        entry.absorb(user, second_change, {"tier": "gold"})
        entry.fold()  # {"tier": "gold", "age": 40}
        entry.settle()  # delivered: the ledgers of both changes may move on

    Attributes:
        opened_at: when its first change arrived, in monotonic seconds.
        not_before: when its back-off ends, in monotonic seconds.
        oldest_ms: the timestamp of its first change's record, in milliseconds since the epoch.
        delivered: whether at least one attribute was delivered.
        calls: requests made for it so far.
        answered: how many of these the destination accepted or refused. Failures and 429s say nothing about the values.
        trouble: its row of failed calls; None while it has none.
        isolation: the search for refused attributes; None if there is no search.
        size_bytes: its size in memory.
        pending_letters: dead letters that must be acknowledged before the entry is settled.
        holds: by ledger, the lowest offset of the entry. The ledger has a hold on it until the entry is settled.
    """

    __slots__ = (
        "answered",
        "attributes",
        "calls",
        "changes",
        "delivered",
        "holds",
        "isolation",
        "key",
        "not_before",
        "oldest_ms",
        "opened_at",
        "pending_letters",
        "place",
        "size_bytes",
        "trouble",
        "user",
    )

    def __init__(self, key: UserKey, user: User, opened_at: float) -> None:
        self.key = key
        self.user = user
        self.opened_at = opened_at
        self.not_before = opened_at
        self.place = Place.WINDOW
        self.attributes: dict[str, Attribute] = {}
        self.holds: dict[Ledger, int] = {}
        self.changes = 0
        self.oldest_ms = 0
        self.delivered = False
        self.calls = 0
        self.answered = 0
        self.trouble: Trouble | None = None
        self.pending_letters = 0
        self.isolation: Isolation | None = None
        self.size_bytes = ENTRY_BYTES + user.custom_bytes

    def absorb(self, user: User, change: Change, values: Mapping[str, Scalar]) -> None:
        """Adds a newer change of the user. Holds its offset, unless the entry holds a lower one of the partition."""
        ledger, offset = change.ledger, change.source.offset
        lowest = self.holds.get(ledger)
        if lowest is None or offset < lowest:
            ledger.hold(offset, change.source.timestamp_ms)
            self._answer_for(ledger, offset)
        size = change.size_bytes
        if user.custom or self.user.custom:
            size += user.custom_bytes - self.user.custom_bytes
        self.user = user
        if not self.changes:
            self.oldest_ms = change.source.timestamp_ms
        self.changes += 1
        attributes = self.attributes
        for name, value in values.items():
            attribute = attributes.get(name)
            if attribute is None:
                attributes[name] = Attribute(value, change)
                size += ATTRIBUTE_BYTES + sys.getsizeof(name) + sys.getsizeof(value)
            else:
                size += attribute.supersede(value, change)
        self.size_bytes += size

    def merge(self, newer: Entry) -> None:
        """Moves the user's next entry into this one, so that one call carries both. Empties `newer`."""
        self.size_bytes += newer.size_bytes - ENTRY_BYTES - self.user.custom_bytes
        self.user = newer.user
        self.changes += newer.changes
        for name, attribute in newer.attributes.items():
            mine = self.attributes.get(name)
            if mine is None:
                self.attributes[name] = attribute
                continue
            for value, change in attribute.history():
                # `newer.size_bytes` already counts this value. Subtract only what it frees here.
                self.size_bytes += min(0, mine.supersede(value, change))
                change.release()
            mine.overtaken = attribute.overtaken
        for ledger, offset in newer.holds.items():
            self._answer_for(ledger, offset)
        newer.attributes, newer.holds, newer.place = {}, {}, Place.GONE

    def _answer_for(self, ledger: Ledger, offset: int) -> None:
        """Takes over a hold. Of two in one ledger keeps the lower, and settles the other.

        The newer offset may be the lower one: an unclean leader election truncated the log.
        """
        known = self.holds.get(ledger)
        if known is None:
            self.holds[ledger] = offset
            return
        self.holds[ledger] = min(known, offset)
        ledger.settle(max(known, offset))

    def overtake(self, names: Iterable[str]) -> None:
        """Later values of these attributes were read, and went elsewhere: see `Attribute.overtaken`."""
        for name in names:
            attribute = self.attributes.get(name)
            if attribute is not None:
                attribute.overtaken = True

    @property
    def is_wanted(self) -> bool:
        """False once it is settled or merged, or all its partitions were dropped."""
        return self.place is not Place.GONE

    def fold(self) -> dict[str, Scalar]:
        """The newest value of every attribute that is not delivered or dead-lettered yet."""
        return {name: attribute.value for name, attribute in self.attributes.items()}

    def forget(self, ledgers: set[Ledger]) -> None:
        """The partitions were dropped: removes their values, which the next owner will send."""
        self.holds = {ledger: offset for ledger, offset in self.holds.items() if ledger not in ledgers}
        self.attributes = {name: attribute for name, attribute in self.attributes.items() if attribute.forget(ledgers)}

    def settle(self) -> None:
        """Settles its offsets: each change is delivered, superseded or an acknowledged dead letter."""
        for ledger, offset in self.holds.items():
            ledger.settle(offset)
        self.holds = {}
        self.place = Place.GONE

    def sources(self, names: Iterable[str]) -> tuple[Source, ...]:
        """The records that the named attributes' newest values came from, each once, in the order of `names`."""
        return tuple(dict.fromkeys(self.attributes[name].change.source for name in names))

    def trace_links(self, names: Iterable[str], most: int) -> tuple[TraceLink, ...]:
        """The spans that the named attributes' newest values came from, each once; at most `most`, in order."""
        changes = dict.fromkeys(self.attributes[name].change for name in names if name in self.attributes)
        links = (link_of(change.headers, change.source) for change in changes if change.headers)
        return tuple(islice((link for link in links if link is not None), most))

    def positions(self, carried: Mapping[str, Scalar]) -> tuple[Positions, ...]:
        """Where its changes lie, and from which records these values are that a call carries.

        Without those that went with their partition while the call was in flight.
        """
        firsts = {ledger.partition: offset for ledger, offset in self.holds.items()}
        names: dict[Partition, list[tuple[str, int]]] = {partition: [] for partition in firsts}
        for name, value in carried.items():
            attribute = self.attributes.get(name)
            if attribute is not None and attribute.has(value):
                source = attribute.change.source
                names.setdefault(source.partition, []).append((name, source.offset))
                firsts[source.partition] = min(source.offset, firsts.get(source.partition, source.offset))
        return tuple(Positions(partition, firsts[partition], tuple(found)) for partition, found in names.items())

    def lost(self, name: str) -> LostAttribute:
        """The named attribute for a dead letter."""
        attribute = self.attributes[name]
        source = attribute.change.source
        return LostAttribute(
            name,
            attribute.value,
            attribute.change.occurred_at_ms,
            partition=source.partition,
            offset=source.offset,
        )
