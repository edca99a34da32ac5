"""Several changes of one user, and which of their values still count."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from operator import itemgetter
from typing import Final

from worker.core.model import Scalar
from worker.core.waiting.change import Change, typed
from worker.core.waiting.ledger import Ledger

CHANGES_BYTES: Final = 100
FURTHER_BYTES: Final = 10  # for each further change. Both measured as those of a `Change`

# So many changes may only repeat others, and as many more as there are others; so many while memory is plentiful.
_REPEATS_MAX: Final = 16
REPEATS_MAX_PLENTIFUL: Final = 1_000

_names_of: Final = itemgetter(1)


class Changes(list[Change]):
    """Changes in the order of the log. Of each partition the first one stays, because its offset is held.

    Of equal values from one partition, the latest is enough: a value refused once is refused again. Equal values from
    two partitions are both kept, because either partition may be revoked. Repeats are only sought when there are many
    changes, and hardly at all while memory is plentiful: to seek costs more than to take a change in.

        changes = Changes([first])
        changes.hold(second)  # not needed where it follows in its partition
        changes.append(second)

    Attributes:
        spread: the ledgers of their partitions, if there are several. The first one's first.
        dropped: how many there were beside them.
        repeats_max: with so many changes, repeats are sought.
    """

    # The class has what nearly all begin and end with.
    spread: tuple[Ledger, ...] = ()
    dropped: int = 0
    repeats_max: int = _REPEATS_MAX

    def hold(self, change: Change) -> None:
        """Holds a newer change's offset if it is the partition's first, or lower than that.

        A newer offset may be the lower one: an unclean leader election truncated the log.
        """
        ledger = change.ledger
        if ledger not in self.ledgers:
            self.spread = (*self.ledgers, ledger)
            change.hold()
            return
        if not ledger.went_back:  # to find the first takes the longer, the more there are
            return
        first = self._first_of(ledger)
        if change.packed < first.packed:
            change.hold()
            ledger.settle(first.offset)
            self._put_first(change)

    def _first_of(self, ledger: Ledger) -> Change:
        return next(change for change in self if change.ledger is ledger)

    def _put_first(self, held: Change) -> None:
        """Its offset is held instead of another one's. Its values come later."""
        self.insert(0, held.emptied())
        self.dropped -= 1

    def take_over(self, newer: Iterable[Change], dropped: int) -> None:
        """Takes over newer changes, and the holds of their partitions' first ones. Of two holds keeps the lower."""
        taken: set[Ledger] = set()
        for change in newer:
            ledger = change.ledger
            if ledger not in taken:
                taken.add(ledger)
                self._take_over_hold(change)
            self.append(change)
        self.dropped += dropped

    def _take_over_hold(self, held: Change) -> None:
        ledger = held.ledger
        if ledger not in self.ledgers:
            self.spread = (*self.ledgers, ledger)
            return
        mine = self._first_of(ledger)
        ledger.settle(max(mine.offset, held.offset))
        if held.packed < mine.packed:
            self._put_first(held)

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """As of an entry."""
        return self.spread or (self[0].ledger,)

    @property
    def holds(self) -> dict[Ledger, int]:
        """As of an entry."""
        return {ledger: self._first_of(ledger).offset for ledger in self.ledgers}

    def newest(self) -> dict[str, tuple[Scalar, Change]]:
        """Of each name the newest value that counts, with its change. In the order in which the names came first."""
        newest = self[-1]
        if list(map(_names_of, self)).count(newest[1]) == len(self):  # nearly always the newest one has all of them
            return {name: (value, newest) for name, value in newest.fold().items()}
        found: dict[str, tuple[Scalar, Change]] = {}
        covered: tuple[str, ...] = ()  # the names of a newer change
        for change in reversed(self):
            if change.names == covered:
                continue
            covered = change.names
            for name, value in change.fold().items():
                if name not in found:
                    found[name] = value, change
        return {name: found[name] for change in self for name in change.names if name in found}

    def narrow(self, gone: Container[str]) -> None:
        """From now on, no value of these names counts."""
        self._replace([change.without(gone) for change in self])

    def refuse(self, name: str, refused: Scalar) -> None:
        """From now on, no value of this name counts that equals the refused one."""

        def rest(change: Change) -> Change:
            values = change.fold()
            same = name in values and typed(values[name]) == typed(refused)
            return change.without({name}) if same else change

        self._replace([rest(change) for change in self])

    def forget(self, ledgers: set[Ledger]) -> None:
        """Drops the changes of these partitions. Others are left."""
        left = tuple(ledger for ledger in self.spread if ledger not in ledgers)
        self.spread = left if len(left) > 1 else ()
        self._keep([change for change in self if change.ledger not in ledgers])

    def drop_repeats(self) -> int:
        """Drops each value that comes again later from its partition. Returns the growth, which is negative."""
        before = self._size_bytes
        seen: set[tuple[Ledger, str, type, Scalar]] = set()
        kept: list[Change] = []
        for change in reversed(self):
            repeats = []
            for name, value in change.fold().items():
                what = change.ledger, name, type(value), value
                if what in seen:
                    repeats.append(name)
                else:
                    seen.add(what)
            kept.append(change.without(repeats) if repeats else change)
        self._replace(kept[::-1])
        self.repeats_max = 2 * len(self) + _REPEATS_MAX
        return self._size_bytes - before

    @property
    def _size_bytes(self) -> int:
        return sum(change.size_bytes + FURTHER_BYTES for change in self)

    def _replace(self, changes: Sequence[Change]) -> None:
        """Keeps these changes: of the empty ones only a partition's first, and the newest, which has the user."""
        first: set[Ledger] = set()
        kept = []
        for change in changes:
            if change.ledger not in first or not change.is_empty or change is changes[-1]:
                first.add(change.ledger)
                kept.append(change)
        self._keep(kept)

    def _keep(self, changes: list[Change]) -> None:
        self.dropped += len(self) - len(changes)
        self[:] = changes
