"""Up to which instant a log was read to its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from worker.core.model import Partition

FRESH_SECONDS: Final = 0.5
WRITE_SECONDS: Final = 1.0
"""What a call says is at most so old when it is written."""


class Freshness:
    """Compares how far a log was read with where it ended.

        freshness.read(positions)  # so far all records were received
        freshness.ends(ends, asked_at)  # the answer to a question that was asked at that instant
        freshness.is_fresh(now)

    Attributes:
        at: up to the end as of this instant all is read, in monotonic seconds.
    """

    def __init__(self) -> None:
        self._positions: Mapping[Partition, int] = {}
        self._ends: tuple[Mapping[Partition, int], float] | None = None
        self.at = -math.inf

    def read(self, positions: Mapping[Partition, int]) -> None:
        """All records before these offsets were received."""
        self._positions = dict(positions)
        self._look()

    def ends(self, ends: Mapping[Partition, int], asked_at: float) -> None:
        """The partitions end here, as of `asked_at`: that is when the question was asked, in monotonic seconds."""
        if self._ends is None:
            self._ends = ends, asked_at
        self._look()

    @property
    def wants_ends(self) -> bool:
        """Whether to ask where the partitions end."""
        return self._ends is None

    def is_fresh(self, now: float) -> bool:
        """Whether the log was read up to an end that is at most `FRESH_SECONDS` old."""
        return now - self.at <= FRESH_SECONDS

    @property
    def write_by(self) -> float:
        """Until when a call may be written that says what was read so far, in monotonic seconds."""
        return self.at + WRITE_SECONDS

    def _look(self) -> None:
        if self._ends is None:
            return
        ends, asked_at = self._ends
        if all(self._positions.get(partition, 0) >= end for partition, end in ends.items()):
            self.at, self._ends = asked_at, None
