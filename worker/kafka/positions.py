"""Where a member is in each partition, and which records were deleted before it read them, by retention or by somebody.

librdkafka then goes on at `auto.offset.reset`, and says so in a log line alone. But the next record shows it: the log
begins behind the offset that was expected. A jump alone shows nothing, since compaction and transactions leave gaps.
A paused partition brings no record, so its log's start is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from worker.core.facts import DeletedUnread
from worker.core.model import Partition, Record

_FAULT_SECONDS: Final = 60.0  # librdkafka reports a batch that it cannot read again every few seconds


class Positions:
    """Compares each record's offset with the expected one. Used by the member's thread only.

        positions.begin({partition: 10})  # its committed offset
        positions.came([record])  # its offset is 40, and there the log begins
        positions.deleted()  # [DeletedUnread(partition, first=10, offsets=30)]

    Attributes:
        passed: the end of each partition that is read to its end, if no record came since.
    """

    def __init__(self, log_start: Callable[[Partition], int]) -> None:
        """`log_start` gives the first offset that a partition still has, as the latest fetch told. It never waits."""
        self.passed: dict[Partition, int] = {}
        self._log_start = log_start
        self._expected: dict[Partition, int] = {}
        # The first record came before the committed offset was known: its offset, and where the log began then.
        self._early: dict[Partition, tuple[int, int]] = {}
        self._deleted: list[DeletedUnread] = []
        self._faults: dict[Partition, tuple[str, float]] = {}  # why nothing is read, and when that was last reported

    def begin(self, committed: Mapping[Partition, int]) -> None:
        """These offsets were committed when the partitions were assigned. Call it before this member commits."""
        for partition, offset in committed.items():
            early = self._early.pop(partition, None)
            if early is not None:
                self._compare(partition, offset, *early)
            else:
                self._expected.setdefault(partition, offset)

    def came(self, records: Iterable[Record]) -> None:
        """These are the next records of their partitions."""
        of: Partition | None = None
        following = -1
        for record in records:
            if record.partition is not of or record.offset != following:
                if of is not None:
                    self._expected[of] = following
                of = record.partition
                self._read_on(of, record.offset)
            following = record.offset + 1
        if of is not None:
            self._expected[of] = following

    def _read_on(self, partition: Partition, offset: int) -> None:
        """The next record is of another partition than the one before, or lies behind a gap."""
        self.passed.pop(partition, None)
        self._faults.pop(partition, None)
        self._move(partition, offset, offset + 1)

    def ended(self, partition: Partition, offset: int) -> None:
        """The partition is read to its end, which is `offset`."""
        self.passed[partition] = offset
        self._faults.pop(partition, None)
        self._move(partition, offset, offset)

    def begin_later(self, starts: Mapping[Partition, int]) -> None:
        """The logs of these partitions, of which nothing is fetched, begin at these offsets now."""
        for partition, start in starts.items():
            expected = self._expected.get(partition, start)
            if expected < start:
                self._expected[partition] = start
                self._compare(partition, expected, start, start)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions were assigned, or are no longer: what was expected of them holds no more."""
        for partition in partitions:
            for known in (self.passed, self._expected, self._early, self._faults):
                known.pop(partition, None)

    def failed(self, partition: Partition, why: str) -> None:
        """The partition's next batch cannot be read."""
        self._faults[partition] = why, time.monotonic()

    @property
    def problem(self) -> str | None:
        """Which partition cannot be read on, and why, in words. None if none is known."""
        since = time.monotonic() - _FAULT_SECONDS
        for (topic, number), (why, at) in self._faults.items():
            if at >= since:
                reached = self._expected.get(Partition(topic, number))
                where = f"{topic}[{number}]" + ("" if reached is None else f" offset {reached}")
                return f"{where} cannot be read, nor anything behind it: {why}"
        return None

    def deleted(self) -> list[DeletedUnread]:
        """What was deleted unread, since the last call."""
        deleted, self._deleted = self._deleted, []
        return deleted

    def _move(self, partition: Partition, offset: int, following: int) -> None:
        expected = self._expected.get(partition)
        self._expected[partition] = following
        if expected is None:
            self._early[partition] = offset, self._log_start(partition)
        elif expected < offset:
            self._compare(partition, expected, offset, self._log_start(partition))

    def _compare(self, partition: Partition, expected: int, offset: int, log_start: int) -> None:
        if expected < log_start <= offset:
            self._deleted.append(DeletedUnread(partition, expected, log_start - expected))
