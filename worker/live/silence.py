"""Notices partitions that have records to read, and bring none.

The brokers hand out nothing behind a transaction that its producer never ended. They say nothing of it either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from worker.core.intake import PartitionProgress
from worker.core.model import Partition

SILENT_SECONDS: Final = 60.0

_CAUSES: Final = (
    "a transaction that its producer never ended (kafka-transactions.sh find-hanging shows it, abort ends it), "
    "a partition without a leader, or a damaged batch"
)


class Silence:
    """Compares each partition's position with that of the looks before.

    problem = silence.problem(progress, end_offsets, explained, now)  # a few times a second
    """

    def __init__(self) -> None:
        self._since: dict[Partition, tuple[int | None, float]] = {}

    def problem(
        self,
        progress: Mapping[Partition, PartitionProgress],
        end_offsets: Mapping[Partition, int],
        explained: Collection[Partition],
        now: float,
    ) -> str | None:
        """The partition that has been silent longest, in words; None if none is.

        A partition whose end is not known is silent, too: no fetch of it was ever answered. `explained` partitions
        stand still for a reason that is told elsewhere. `now` is in monotonic seconds.
        """
        before, self._since = self._since, {}
        for partition, reached in progress.items():
            if partition in explained or (reached.position or 0) >= end_offsets.get(partition, math.inf):
                continue
            known = before.get(partition)
            same = known is not None and known[0] == reached.position
            self._since[partition] = known if known is not None and same else (reached.position, now)
        silent = [(at, partition) for partition, (_, at) in self._since.items() if now - at >= SILENT_SECONDS]
        if not silent:
            return None
        at, partition = min(silent)
        position, end = progress[partition].position, end_offsets.get(partition)
        reach = "nothing was read yet" if position is None else f"nothing was read from offset {position} on"
        others = f"; and {len(silent) - 1} more partitions" if len(silent) > 1 else ""
        where = f"{partition.topic}[{partition.number}]"
        ends = "has an unknown end, and" if end is None else f"ends at offset {end}, but"
        return f"{where} {ends} {reach} for {now - at:.0f} s: {_CAUSES}{others}"
