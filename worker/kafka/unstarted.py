"""Assigned partitions that librdkafka never begins to read.

It asks the coordinator once where to begin. If the answer is an error (NOT_COORDINATOR just after a broker came back,
say), it waits for an answer that never comes, and says no more. Only another assignment lets it ask again. Seen with
librdkafka 2.16; `rd_kafka_assignment_apply_offsets` says "Do nothing for request-level errors".
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition

UNSTARTED_SECONDS: Final = 15.0
_PATIENCE_MAX_SECONDS: Final = 300.0


class Unstarted:
    """Watches librdkafka's statistics for such partitions. Used by the member's thread only.

    Each time that it calls for a new assignment, it waits twice as long for the next: every one disturbs the group.
    """

    def __init__(self, assigned: Collection[Partition], log: FilteringBoundLogger) -> None:
        """`assigned` is the member's live set of partitions."""
        self._assigned = assigned
        self._log = log
        self._since: dict[Partition, float] = {}
        self._patience = UNSTARTED_SECONDS

    def take(self, statistics: Mapping[str, Any]) -> None:
        """Takes in the latest statistics."""
        group = statistics.get("cgrp", {})
        # Until then librdkafka has good reasons to wait.
        steady = group.get("state") == "up" and group.get("join_state") == "steady"
        now = time.monotonic()
        idle = [each for each in self._assigned if steady and _fetch_state(statistics, each) == "none"]
        self._since = {partition: self._since.get(partition, now) for partition in idle}
        if steady and self._assigned and not idle:
            self._patience = UNSTARTED_SECONDS

    def overdue(self) -> bool:
        """Whether to join the group anew, since some partition is not read for too long. Says so in the log."""
        since = min(self._since.values(), default=None)
        if since is None or time.monotonic() - since < self._patience:
            return False
        names = sorted(f"{topic}[{number}]" for topic, number in self._since)
        self._log.warning("partitions_not_started", partitions=names, seconds=round(self._patience))
        self._since.clear()
        self._patience = min(2 * self._patience, _PATIENCE_MAX_SECONDS)
        return True


def _fetch_state(statistics: Mapping[str, Any], partition: Partition) -> str:
    partitions = statistics.get("topics", {}).get(partition.topic, {}).get("partitions", {})
    return str(partitions.get(str(partition.number), {}).get("fetch_state", ""))
