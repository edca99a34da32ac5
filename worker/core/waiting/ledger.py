"""Which offset of a partition may be committed.

A ledger belongs to one assignment of one partition, and is dropped when the partition goes away. A call in flight or a
pending dead letter may still settle an offset of the dropped ledger: that does nothing. So the object is the epoch: no
result of an old assignment can move the offset of a newer one.
"""

from __future__ import annotations

from collections import OrderedDict

from worker.core.model import Partition


class Ledger:
    """The open offsets of one assigned partition.

    An offset is held once for each thing that must be settled before it may be committed (an entry with one attribute,
    a dead letter with another). Gaps between offsets, as compaction and transactions leave them, need no action.

        ledger = Ledger(partition)
        ledger.hold(7, timestamp_ms)
        ledger.read(7)
        ledger.read(8)  # nothing of it needs to be settled
        ledger.committable  # 7
        ledger.settle(7)
        ledger.committable  # 9

    Attributes:
        live: whether the partition is still assigned.
        unsettled: how many holds there are: each is an entry, or a dead letter of a record.
        withheld: how many of them are dead letters that wait for credit, which only a good record earns.
    """

    __slots__ = ("_holds", "_newest", "_position", "live", "partition", "unsettled", "withheld")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.live = True
        self.unsettled = 0
        self.withheld = 0
        self._position: int | None = None
        self._newest = -1
        # offset -> [number of holds, the record's timestamp in ms], in offset order. An OrderedDict, because its first
        # key and the removal of any key take constant time; a plain dict scans the gaps that removals leave in front.
        self._holds: OrderedDict[int, list[int]] = OrderedDict()

    def read(self, offset: int) -> None:
        """The record at `offset` was taken in, and everything that it leaves to settle is held by now."""
        self._position = offset + 1

    def hold(self, offset: int, timestamp_ms: int) -> None:
        """`offset` must not be committed until it is settled as often as it was held."""
        self.unsettled += 1
        known = self._holds.get(offset)
        if known is not None:
            known[0] += 1
            return
        self._holds[offset] = [1, timestamp_ms]
        if offset < self._newest:
            # The log went back (an unclean leader election cut it). That is rare, so sorting is good enough.
            self._holds = OrderedDict(sorted(self._holds.items()))
        self._newest = max(self._newest, offset)

    def settle(self, offset: int) -> None:
        """One of the holds of `offset` ends.

        Raises:
            KeyError: nothing holds the offset. To settle twice would let a commit pass work that is not done.
        """
        if not self.live:
            return
        known = self._holds[offset]
        known[0] -= 1
        self.unsettled -= 1
        if known[0] == 0:
            del self._holds[offset]

    def drop(self) -> None:
        """The assignment ended: from now on nothing is held and nothing may be committed."""
        self.live = False
        self._position = None
        self._holds.clear()
        self.unsettled = self.withheld = 0

    @property
    def position(self) -> int | None:
        """The next offset to be read; None before the first record."""
        return self._position

    @property
    def idle(self) -> bool:
        """Whether everything that was read is settled."""
        return not self._holds

    @property
    def committable(self) -> int | None:
        """The lowest held offset, or the next to be read when none is held; None before the first record."""
        lowest, position = next(iter(self._holds), None), self._position
        # After the log went back, a held offset may lie beyond records that will be read again.
        return position if lowest is None or position is None else min(lowest, position)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the record at the lowest held offset, in milliseconds since the epoch."""
        oldest = next(iter(self._holds.values()), None)
        return None if oldest is None else oldest[1]
