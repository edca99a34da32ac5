"""Several changes of one user, and which of their values still count."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Final

from worker.core.model import Scalar
from worker.core.waiting.change import Change, typed
from worker.core.waiting.ledger import Ledger

CHANGES_BYTES: Final = 190
FURTHER_BYTES: Final = 10  # for each further change. Both measured as those of a `Change`

# So many changes may only repeat others, and as many more as there are others; so many while memory is plentiful.
_REPEATS_MAX: Final = 16
_REPEATS_MAX_PLENTIFUL: Final = 1_000


class Changes:
    """Changes in the order of the log. Of each partition the first one stays, because its offset is held.

    Of equal values from one partition, the latest is enough: a value refused once is refused again. Equal values from
    two partitions are both kept, because either partition may be revoked. Repeats are only sought when there are many
    changes, and hardly at all while memory is plentiful: to seek costs more than to take a change in.

    Attributes:
        all: oldest first.
        ledgers: of which partitions they are, the first one's first.
        count: how many there were, those included that were dropped as repeats.
    """

    __slots__ = ("_most", "all", "count", "ledgers")

    def __init__(self, first: Change) -> None:
        self.all = [first]
        self.ledgers: tuple[Ledger, ...] = (first.ledger,)
        self.count = 1
        self._most = _REPEATS_MAX

    def add(self, change: Change, *, plentiful: bool = False) -> int:
        """Adds a newer change, and holds its offset where that is needed. Returns the growth in bytes."""
        changes = self.all
        latest = changes[-1]
        if change[0] is not latest[0] or change[1] < latest[1]:  # its ledger and place
            self._hold(change)
        changes.append(change)
        self.count += 1
        grown = change.size_bytes + FURTHER_BYTES
        many = len(changes)
        if many < self._most or (plentiful and many < _REPEATS_MAX_PLENTIFUL):
            return grown
        return grown + self.drop_repeats()

    def _hold(self, change: Change) -> None:
        """Holds its offset if it is the partition's first, or lower than that.

        A newer offset may be the lower one: an unclean leader election truncated the log.
        """
        ledger = change.ledger
        if ledger not in self.ledgers:
            self.ledgers += (ledger,)
            change.hold()
            return
        first = self._first_of(ledger)
        if change.place < first.place:
            change.hold()
            ledger.settle(first.offset)
            self.all.insert(0, change.emptied())

    def _first_of(self, ledger: Ledger) -> Change:
        return next(change for change in self.all if change.ledger is ledger)

    def append(self, newer: Iterable[Change], count: int) -> None:
        """Takes over newer changes, and the holds of their partitions' first ones. Of two holds keeps the lower."""
        taken: set[Ledger] = set()
        for change in newer:
            ledger = change.ledger
            if ledger not in taken:
                taken.add(ledger)
                self._take_over(change)
            self.all.append(change)
        self.count += count

    def _take_over(self, held: Change) -> None:
        ledger = held.ledger
        if ledger not in self.ledgers:
            self.ledgers += (ledger,)
            return
        mine = self._first_of(ledger)
        ledger.settle(max(mine.offset, held.offset))
        if held.place < mine.place:
            self.all.insert(0, held.emptied())

    @property
    def holds(self) -> dict[Ledger, int]:
        """As of an entry."""
        return {ledger: self._first_of(ledger).offset for ledger in self.ledgers}

    def newest(self) -> dict[str, tuple[Scalar, Change]]:
        """Of each name the newest value that counts, with its change. In the order in which the names came first."""
        found: dict[str, tuple[Scalar, Change]] = {}
        covered: tuple[str, ...] = ()  # the names of a change that counted as a whole: nearly always those of all
        for change in reversed(self.all):
            if change.names is covered:
                continue
            for name, value in change.fold().items():
                if name not in found:
                    found[name] = value, change
            if change.is_whole:
                covered = change.names
        first = self.all[0].names
        if covered is first and len(found) == len(first):
            return {name: found[name] for name in first}
        return {name: found[name] for change in self.all for name in change.names if name in found}

    def narrow(self, gone: Container[str]) -> None:
        """From now on, no value of these names counts."""
        self._replace([change.without(gone) for change in self.all])

    def refuse(self, name: str, refused: Scalar) -> None:
        """From now on, no value of this name counts that equals the refused one."""

        def rest(change: Change) -> Change:
            values = change.fold()
            same = name in values and typed(values[name]) == typed(refused)
            return change.without({name}) if same else change

        self._replace([rest(change) for change in self.all])

    def forget(self, ledgers: set[Ledger]) -> None:
        """Drops the changes of these partitions."""
        self.all = [change for change in self.all if change.ledger not in ledgers]
        self.ledgers = tuple(ledger for ledger in self.ledgers if ledger not in ledgers)

    def drop_repeats(self) -> int:
        """Drops each value that comes again later from its partition. Returns the growth, which is negative."""
        before = self._size_bytes
        seen: set[tuple[Ledger, str, type, Scalar]] = set()
        kept: list[Change] = []
        for change in reversed(self.all):
            repeats = []
            for name, value in change.fold().items():
                what = change.ledger, name, type(value), value
                if what in seen:
                    repeats.append(name)
                else:
                    seen.add(what)
            kept.append(change.without(repeats) if repeats else change)
        self._replace(kept[::-1])
        self._most = 2 * len(self.all) + _REPEATS_MAX
        return self._size_bytes - before

    @property
    def _size_bytes(self) -> int:
        return sum(change.size_bytes + FURTHER_BYTES for change in self.all)

    def _replace(self, changes: Sequence[Change]) -> None:
        """Keeps these changes: of the empty ones only a partition's first, and the newest, which has the user."""
        first: set[Ledger] = set()
        self.all = []
        for change in changes:
            if change.ledger not in first or not change.is_empty or change is changes[-1]:
                first.add(change.ledger)
                self.all.append(change)
