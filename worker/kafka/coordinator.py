"""How long the group's coordinator has been silent, by librdkafka's statistics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

# Classic protocol: during a rebalance the coordinator answers no member until all have joined. So its silence is normal
# for a member that holds nothing. One that keeps partitions cannot know whether its own request to join arrived.
_WAITS: Final = frozenset({"wait-join", "wait-metadata", "wait-sync"})


class Coordinator:
    """Hears the coordinator of this member's group, as of the latest statistics."""

    def __init__(self, *, kip_848: bool) -> None:
        self._kip_848 = kip_848
        self._heard_at = time.monotonic()
        self.up = False
        """Whether the coordinator is known and reached."""

    @property
    def silent_seconds(self) -> float:
        """How long it has been silent."""
        return max(0.0, time.monotonic() - self._heard_at)

    def begin_anew(self) -> None:
        """Counts its silence from now on."""
        self._heard_at = time.monotonic()

    def take(self, statistics: Mapping[str, Any], *, holds: bool) -> None:
        """Takes in the latest statistics. `holds`: this member holds partitions."""
        group = statistics.get("cgrp", {})
        self.up = group.get("state") == "up"
        if not (self._kip_848 or holds) and group.get("join_state") in _WAITS:
            self.begin_anew()
            return
        # Only the group's requests use this connection, mostly heartbeats. A new connection has received nothing: -1.
        idle_us = statistics["brokers"].get("GroupCoordinator", {}).get("rxidle", -1)
        if idle_us >= 0:
            self._heard_at = (statistics["ts"] - idle_us) / 1e6  # Linux: both are CLOCK_MONOTONIC
