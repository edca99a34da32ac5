"""Which offset of a partition may be committed.

A ledger belongs to one assignment of one partition, and is dropped with it. The race it closes: a call is in flight,
the partition is revoked and assigned again (a new ledger), then the reply settles its entry. The entry refers to the
old ledger, where `settle` now does nothing. So no result of an old assignment moves the offset of a newer one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

from worker.core.model import Partition

_SETTLED_MAX: Final = 1_000  # so many settled offsets stay in a ledger's arrays, and as many more as are open


class Ledger:
    """The open offsets of one assigned partition.

    An offset may have several holds, each ended by its own `settle`: one attribute of the record went into an entry,
    another into a dead letter. Gaps in the offsets (compaction, transactions) need no action.

        ledger = Ledger(partition)
        ledger.hold(7, timestamp_ms)
        ledger.read(7)
        ledger.read(8)  # a tombstone: nothing to settle, so no hold
        ledger.committable  # 7
        ledger.settle(7)
        ledger.committable  # 9

    Attributes:
        live: whether the partition is still assigned.
        last_offset: of the record that came last.
        went_back: whether a record came behind one with a higher offset: an unclean leader election truncated the log.
        unsettled: the number of holds. Each belongs to an entry or to a record's dead letter.
        withheld: how many of these are dead letters that wait for credit, which only good records earn.
    """

    __slots__ = (
        "_counts",
        "_first",
        "_offsets",
        "_open",
        "_position",
        "_timestamps",
        "last_offset",
        "live",
        "partition",
        "unsettled",
        "went_back",
        "withheld",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.live = True
        self.went_back = False
        self.last_offset = -1
        self.unsettled = 0
        self.withheld = 0
        self._position: int | None = None
        # In offset order, 20 bytes for each offset: a million may be open. Those before `_first` are settled, and among
        # those behind it, the ones without holds.
        self._offsets = array("q")
        self._timestamps = array("q")  # of the records, in milliseconds since the epoch
        self._counts = array("i")  # of holds
        self._first = 0
        self._open = 0  # how many offsets have a hold

    def read(self, offset: int) -> None:
        """The record at `offset` was taken in. Call `hold` before: `read` makes the next offset committable."""
        self._position = offset + 1

    def passed(self, offset: int) -> None:
        """No record lies between the position and `offset`."""
        self._position = max(offset, self._position or 0)

    def hold(self, offset: int, timestamp_ms: int) -> None:
        """Adds a hold: no commit passes `offset` until every hold on it is settled."""
        self.unsettled += 1
        offsets = self._offsets
        if not offsets or offset > offsets[-1]:
            offsets.append(offset)
            self._timestamps.append(timestamp_ms)
            self._counts.append(1)
            self._open += 1
            return
        at = bisect_left(offsets, offset, self._first)
        if offsets[at] == offset:
            self._open += not self._counts[at]
            self._counts[at] += 1
            return
        # The log was truncated by an unclean leader election. That is rare, so a slow insertion is good enough.
        offsets.insert(at, offset)
        self._timestamps.insert(at, timestamp_ms)
        self._counts.insert(at, 1)
        self._open += 1

    def settle(self, offset: int) -> None:
        """Ends one hold on `offset`. Does nothing after `drop`.

        Raises:
            KeyError: the offset has no hold. A second settle would let a commit pass unfinished work.
        """
        if not self.live:
            return
        at = bisect_left(self._offsets, offset, self._first)
        if at == len(self._offsets) or self._offsets[at] != offset or not self._counts[at]:
            raise KeyError(offset)
        self.unsettled -= 1
        self._counts[at] -= 1
        if not self._counts[at]:
            self._open -= 1
            self._forget_settled()

    def drop(self) -> None:
        """The assignment ended: removes all holds, and from now on nothing is committable."""
        self.live = False
        self._position = None
        self._clear()
        self.unsettled = self.withheld = 0

    def _forget_settled(self) -> None:
        """Passes the settled offsets in front. Removes all settled ones once they are too many."""
        if not self._open:
            self._clear()
            return
        while not self._counts[self._first]:
            self._first += 1
        if len(self._offsets) > 2 * self._open + _SETTLED_MAX:
            kept = [at for at in range(self._first, len(self._offsets)) if self._counts[at]]
            self._offsets = array("q", [self._offsets[at] for at in kept])
            self._timestamps = array("q", [self._timestamps[at] for at in kept])
            self._counts = array("i", [self._counts[at] for at in kept])
            self._first = 0

    def _clear(self) -> None:
        self._offsets, self._timestamps, self._counts = array("q"), array("q"), array("i")
        self._first = self._open = 0

    @property
    def position(self) -> int | None:
        """The next offset to read. None before the first record."""
        return self._position

    @property
    def idle(self) -> bool:
        """Whether everything that was read is settled."""
        return not self._open

    @property
    def committable(self) -> int | None:
        """The lowest offset with a hold, or `position` if there is none. None before the first record."""
        position = self._position
        # After the log was truncated, a hold may lie above records that will be read again.
        return position if not self._open or position is None else min(self._offsets[self._first], position)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the record at the lowest offset with a hold, in milliseconds since the epoch."""
        return self._timestamps[self._first] if self._open else None
