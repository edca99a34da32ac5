"""An Entry: the ordered changes of one user since the last call, and their fold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from itertools import islice
from typing import Final

from worker.core.model import LostAttribute, Partition, Scalar, Source, User, UserKey
from worker.core.receipts.receipt import Positions
from worker.core.trace import TraceLink, link_of
from worker.core.waiting.change import CHANGE_BYTES, Change, Shape, typed
from worker.core.waiting.changes import CHANGES_BYTES, FURTHER_BYTES, REPEATS_MAX_PLENTIFUL, Changes
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.trial import TRIAL_BYTES, UNTRIED, Trial

ENTRY_BYTES: Final = 226
"""What it takes in memory, also in the window's tables and the ledger, without its change and identifier. Measured."""

_BLOCK_BYTES: Final = 16  # as the allocator's. A number of blocks is a small one, of which Python keeps one for all
_TRIAL_BLOCKS: Final = TRIAL_BYTES // _BLOCK_BYTES


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

        entry = Entry(key, opened_at=100.0)
        entry.absorb(first_change)  # {"tier": "silver", "age": 40}
        entry.absorb(second_change)  # {"tier": "gold"}
        entry.fold()  # {"tier": "gold", "age": 40}
        entry.settle()  # delivered: the ledgers of both changes may move on

    Nearly all wait for their first call, with one change or a few. So an entry has no dictionary: it has its one
    change, or a `Changes`. It gets a trial of its own with its first call.

    Attributes:
        opened_at: when its first change arrived, in monotonic seconds.
        ledger: of the partition that all its changes are from. None if they are from several.
        trial: what came of its calls.
    """

    __slots__ = ("_blocks", "_changes", "key", "ledger", "opened_at", "place", "trial")

    def __init__(self, key: UserKey, opened_at: float) -> None:
        self.key = key
        self.opened_at = opened_at
        self.place = Place.WINDOW
        self.trial: Trial = UNTRIED
        self.ledger: Ledger | None = None
        self._changes: Change | Changes | None = None
        self._blocks = (ENTRY_BYTES + len(key)) // _BLOCK_BYTES

    def absorb(self, change: Change, *, plentiful: bool = False) -> int:
        """Adds a newer change of the user. Returns the growth in bytes. `plentiful`: memory is.

        Holds the change's offset, unless the entry holds a lower one of the partition.
        """
        mine, ledger = self._changes, change[0]
        grown = CHANGE_BYTES + len(change[2]) if type(change[1]) is Shape else change.size_bytes
        if mine is None:
            self._changes, self.ledger = change, ledger
            change.hold()
        else:
            grown += FURTHER_BYTES
            if isinstance(mine, Change):
                mine = self._changes = Changes((mine,))
                grown += CHANGES_BYTES
            if ledger.went_back or ledger is not self.ledger:
                mine.hold(change)
                self.ledger = None if mine.spread else ledger
            mine.append(change)
            if len(mine) >= mine.repeats_max and not (plentiful and len(mine) < REPEATS_MAX_PLENTIFUL):
                grown += mine.drop_repeats()
        trial = self.trial
        if trial is not UNTRIED and trial.overtaken:
            trial.overtaken = trial.overtaken.difference(change.names)
        blocks = -(-grown // _BLOCK_BYTES)
        self._blocks += blocks
        return blocks * _BLOCK_BYTES

    def begin(self) -> int:
        """It gets a trial of its own. Returns the growth in bytes."""
        if self.trial is not UNTRIED:
            return 0
        self.trial = Trial()
        self._blocks += _TRIAL_BLOCKS
        return _TRIAL_BLOCKS * _BLOCK_BYTES

    def merge(self, newer: Entry) -> None:
        """Moves the user's next entry into this one, so that one call carries both. Empties `newer`."""
        self.trial.overtaken = self.trial.overtaken.difference(newer.fold()) | newer.trial.overtaken
        mine = self._changes
        if not isinstance(mine, Changes):
            mine = self._changes = Changes(() if mine is None else (mine,))
        mine.take_over(newer.changes, newer.count - len(newer.changes))
        self._note_ledger(mine)
        self._blocks = -(-self._measured() // _BLOCK_BYTES)
        newer._changes, newer.place = None, Place.GONE

    def _measured(self) -> int:
        further = (len(self.changes) - 1) * FURTHER_BYTES + CHANGES_BYTES
        return ENTRY_BYTES + len(self.key) + TRIAL_BYTES + further + sum(change.size_bytes for change in self.changes)

    def overtake(self, names: Iterable[str]) -> int:
        """Later values of these attributes were read, and went elsewhere. Returns the growth in bytes."""
        grown = self.begin()
        self.trial.overtaken = self.trial.overtaken.union(names)
        return grown

    @property
    def changes(self) -> Sequence[Change]:
        """Those that still count, oldest first; and of each partition the first one, which holds its offset."""
        mine = self._changes
        if mine is None:
            return ()
        return mine if isinstance(mine, Changes) else (mine,)

    @property
    def count(self) -> int:
        """How many changes it has taken in."""
        mine = self._changes
        return len(mine) + mine.dropped if isinstance(mine, Changes) else int(mine is not None)

    @property
    def ledgers(self) -> Sequence[Ledger]:
        """Of the partitions that its changes are from."""
        mine = self._changes
        if mine is None:
            return ()
        return mine.ledgers if isinstance(mine, Changes) else (mine.ledger,)

    @property
    def holds(self) -> dict[Ledger, int]:
        """By ledger, the lowest offset of the entry. The ledger has a hold on it until the entry is settled."""
        mine = self._changes
        if mine is None:
            return {}
        return mine.holds if isinstance(mine, Changes) else {mine.ledger: mine.offset}

    @property
    def size_bytes(self) -> int:
        """Its size in memory."""
        return self._blocks * _BLOCK_BYTES

    @property
    def user(self) -> User:
        """The identifiers to send: those of the newest change."""
        mine = self._changes
        newest = mine[-1] if isinstance(mine, Changes) else mine
        sent = None if newest is None else newest.sent
        return self.key.user if sent is None else sent

    @property
    def oldest_ms(self) -> int:
        """The timestamp of its first change's record, in milliseconds since the epoch."""
        mine = self._changes
        first = mine[0] if isinstance(mine, Changes) else mine
        return 0 if first is None else first.timestamp_ms

    @property
    def is_wanted(self) -> bool:
        """False once it is settled or merged, or all its partitions were dropped."""
        return self.place is not Place.GONE

    @property
    def is_empty(self) -> bool:
        """Whether every attribute is delivered or dead-lettered."""
        if self.trial.finished:
            return True
        mine = self._changes
        if isinstance(mine, Changes):
            return all(change.is_empty for change in mine)
        return mine is None or mine.is_empty

    def fold(self) -> dict[str, Scalar]:
        """The newest value of every attribute that is not delivered or dead-lettered yet."""
        mine = self._changes
        if isinstance(mine, Change):
            return mine.fold()
        return {name: value for name, (value, _) in self.newest().items()}

    def newest(self) -> dict[str, tuple[Scalar, Change]]:
        """As `fold`, each value with its change."""
        mine = self._changes
        if mine is None:
            return {}
        if isinstance(mine, Changes):
            return mine.newest()
        return {name: (value, mine) for name, value in mine.fold().items()}

    def has(self, name: str, value: Scalar) -> bool:
        """Whether the attribute's newest value equals this one for the destination, where True is not 1."""
        newest = self.fold()
        return name in newest and typed(newest[name]) == typed(value)

    def done(self, names: Collection[str]) -> None:
        """These attributes are delivered or dead-lettered."""
        mine = self._changes
        if isinstance(mine, Changes):
            mine.narrow(names)
        elif mine is not None:
            self._changes = mine.without(names)

    def finish(self) -> None:
        """All attributes are delivered or dead-lettered."""
        self.trial.finished = True

    def step_back(self, name: str) -> bool:
        """The attribute's newest value was refused: falls back to the one before it. False if there is none."""
        self.trial.overtaken = self.trial.overtaken.union((name,))
        refused, mine = self.fold()[name], self._changes
        if not isinstance(mine, Changes):
            self.done((name,))
            return False
        mine.refuse(name, refused)
        return name in self.fold()

    def forget(self, ledgers: set[Ledger]) -> None:
        """The partitions were dropped: removes their changes, which the next owner will send."""
        mine = self._changes
        if ledgers.issuperset(self.ledgers):
            self._changes = None
        elif isinstance(mine, Changes):
            mine.forget(ledgers)
            self._note_ledger(mine)

    def _note_ledger(self, mine: Changes) -> None:
        ledgers = mine.ledgers
        self.ledger = ledgers[0] if len(ledgers) == 1 else None

    def settle(self) -> None:
        """Settles its offsets: each change is delivered, superseded or an acknowledged dead letter."""
        mine = self._changes
        if isinstance(mine, Changes):
            for ledger, offset in mine.holds.items():
                ledger.settle(offset)
        elif mine is not None:
            mine.ledger.settle(mine.offset)
        self._changes = None
        self.place = Place.GONE

    def sources(self, names: Iterable[str]) -> tuple[Source, ...]:
        """The records that the named attributes' newest values came from, each once, in the order of `names`."""
        return tuple(change.source for change in self._changes_of(names))

    def trace_links(self, names: Iterable[str], most: int) -> tuple[TraceLink, ...]:
        """The spans that the named attributes' newest values came from, each once; at most `most`, in order."""
        links = (link_of(change.headers, change.source) for change in self._changes_of(names) if change.headers)
        return tuple(islice((link for link in links if link is not None), most))

    def _changes_of(self, names: Iterable[str]) -> Iterator[Change]:
        newest = self.newest()
        of_names = (newest[name][1] for name in names if name in newest)
        return iter({id(change): change for change in of_names}.values())

    def positions(self, carried: Mapping[str, Scalar]) -> tuple[Positions, ...]:
        """Where its changes lie, and from which records these values are that a call carries.

        Without those that went with their partition while the call was in flight.
        """
        firsts = {ledger.partition: offset for ledger, offset in self.holds.items()}
        names: dict[Partition, list[tuple[str, int]]] = {partition: [] for partition in firsts}
        newest = self.newest()
        for name, value in carried.items():
            if name in newest and typed(newest[name][0]) == typed(value):
                source = newest[name][1].source
                names.setdefault(source.partition, []).append((name, source.offset))
                firsts[source.partition] = min(source.offset, firsts.get(source.partition, source.offset))
        return tuple(Positions(partition, firsts[partition], tuple(found)) for partition, found in names.items())

    def lost(self, names: Iterable[str]) -> tuple[LostAttribute, ...]:
        """The named attributes for a dead letter."""
        newest = self.newest()
        found = []
        for name in names:
            value, change = newest[name]
            occurred_at_ms = change.occurred_at_ms
            found.append(LostAttribute(name, value, occurred_at_ms, change.partition, change.offset))
        return tuple(found)
