"""Which offset of a partition may be committed.

A ledger belongs to one assignment of one partition, and is dropped with it. The race it closes: a call is in flight,
the partition is revoked and assigned again (a new ledger), then the reply settles its entry. The entry refers to the
old ledger, where `settle` now does nothing. So no result of an old assignment moves the offset of a newer one.
"""

from __future__ import annotations

from collections import OrderedDict

from worker.core.model import Partition


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
        unsettled: the number of holds. Each belongs to an entry or to a record's dead letter.
        withheld: how many of these are dead letters that wait for credit, which only good records earn.
    """

    __slots__ = ("_holds", "_newest", "_position", "live", "partition", "unsettled", "withheld")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.live = True
        self.unsettled = 0
        self.withheld = 0
        self._position: int | None = None
        self._newest = -1
        # offset -> [number of holds, the record's timestamp in ms], in offset order. An OrderedDict finds its first key
        # in constant time. A plain dict scans all the keys removed in front of it.
        self._holds: OrderedDict[int, list[int]] = OrderedDict()

    def read(self, offset: int) -> None:
        """The record at `offset` was taken in. Call `hold` before: `read` makes the next offset committable."""
        self._position = offset + 1

    def passed(self, offset: int) -> None:
        """No record lies between the position and `offset`."""
        self._position = max(offset, self._position or 0)

    def hold(self, offset: int, timestamp_ms: int) -> None:
        """Adds a hold: no commit passes `offset` until every hold on it is settled."""
        self.unsettled += 1
        known = self._holds.get(offset)
        if known is not None:
            known[0] += 1
            return
        self._holds[offset] = [1, timestamp_ms]
        if offset < self._newest:
            # The log was truncated by an unclean leader election. That is rare, so sorting is good enough.
            self._holds = OrderedDict(sorted(self._holds.items()))
        self._newest = max(self._newest, offset)

    def settle(self, offset: int) -> None:
        """Ends one hold on `offset`. Does nothing after `drop`.

        Raises:
            KeyError: the offset has no hold. A second settle would let a commit pass unfinished work.
        """
        if not self.live:
            return
        known = self._holds[offset]
        known[0] -= 1
        self.unsettled -= 1
        if known[0] == 0:
            del self._holds[offset]

    def drop(self) -> None:
        """The assignment ended: removes all holds, and from now on nothing is committable."""
        self.live = False
        self._position = None
        self._holds.clear()
        self.unsettled = self.withheld = 0

    @property
    def position(self) -> int | None:
        """The next offset to read. None before the first record."""
        return self._position

    @property
    def idle(self) -> bool:
        """Whether everything that was read is settled."""
        return not self._holds

    @property
    def committable(self) -> int | None:
        """The lowest offset with a hold, or `position` if there is none. None before the first record."""
        lowest, position = next(iter(self._holds), None), self._position
        # After the log was truncated, a hold may lie above records that will be read again.
        return position if lowest is None or position is None else min(lowest, position)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the record at the lowest offset with a hold, in milliseconds since the epoch."""
        oldest = next(iter(self._holds.values()), None)
        return None if oldest is None else oldest[1]
