"""Which offset of a partition may be committed.

A ledger belongs to one assignment of one partition. When the partition goes away the ledger is dropped, and
whatever still points at it (a request in flight, a dead letter on its way) settles into nothing: the object
is the epoch, so no result of an old assignment can move a newer one's offset.
"""

from __future__ import annotations

from collections import OrderedDict

from worker.core.model import Partition


class Ledger:
    """The open offsets of one assigned partition.

    An offset is held once for everything that must be settled before it may be committed; it may be held
    several times (an attribute in an entry, another in a dead letter). Gaps between offsets, as compaction
    and transactions leave them, are never held and so need no action.

    Attributes:
        live: whether the partition is still assigned.
        unsettled: holds of any offset; each is an entry or a dead letter of a record.
        withheld: those of them that only a good record can release: dead letters that wait for credit.
    """

    __slots__ = ("_holds", "_newest", "_position", "live", "partition", "unsettled", "withheld")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.live = True
        self.unsettled = 0
        self.withheld = 0
        self._position: int | None = None
        self._newest = -1
        # offset -> [number of holders, the record's timestamp in ms], in offset order. An OrderedDict, since
        # both its first key and the removal of any key take constant time; a plain dict rescans the gaps that
        # removals leave at its front.
        self._holds: OrderedDict[int, list[int]] = OrderedDict()

    def read(self, offset: int) -> None:
        """The record at `offset` was taken in: what must be settled for it is held before the next read."""
        self._position = offset + 1

    def hold(self, offset: int, timestamp_ms: int) -> None:
        """Keeps `offset` from being committed until it is settled as often as it was held."""
        self.unsettled += 1
        held = self._holds.get(offset)
        if held is not None:
            held[0] += 1
            return
        self._holds[offset] = [1, timestamp_ms]
        if offset < self._newest:
            # The log went back (an unclean leader election cut it): rare, so order is restored by sorting.
            self._holds = OrderedDict(sorted(self._holds.items()))
        self._newest = max(self._newest, offset)

    def settle(self, offset: int) -> None:
        """One holder of `offset` is done with it.

        Raises:
            KeyError: if nothing holds the offset: settling twice would let a commit pass unsettled work.
        """
        if not self.live:
            return
        held = self._holds[offset]
        held[0] -= 1
        self.unsettled -= 1
        if held[0] == 0:
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
        # After the log went back, a held offset may lie beyond records that are yet to come again.
        return position if lowest is None or position is None else min(lowest, position)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the record at the lowest held offset, in milliseconds since the epoch."""
        held = next(iter(self._holds.values()), None)
        return None if held is None else held[1]
