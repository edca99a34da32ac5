"""The group's coordinator: whether this member is in the group, and how long the coordinator has been silent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

# Classic protocol: during a rebalance the coordinator answers no member until all have joined. So its silence is normal
# for a member that holds nothing. One that keeps partitions cannot know whether its own request to join arrived.
_WAITS: Final = frozenset({"wait-join", "wait-metadata", "wait-sync"})


class Coordinator:
    """Hears the coordinator of this member's group, by callbacks and by librdkafka's statistics."""

    def __init__(self, *, kip_848: bool) -> None:
        self._kip_848 = kip_848
        self._heard_at = time.monotonic()
        self._idle = self._assigned = False

    @property
    def joined(self) -> bool:
        """Whether an assignment (perhaps empty) was received, and this member has not been out of the group since."""
        return self._assigned or self._idle

    @property
    def silent_seconds(self) -> float:
        """How long it has been silent."""
        return max(0.0, time.monotonic() - self._heard_at)

    def begin_anew(self) -> None:
        """Counts its silence from now on."""
        self._heard_at = time.monotonic()

    def assigned(self) -> None:
        """An assignment was received."""
        self._assigned = True

    def out(self) -> None:
        """This member is out of the group, until the next assignment."""
        self._assigned = self._idle = False

    def take(self, statistics: Mapping[str, Any], *, holds: bool, well: bool) -> None:
        """Takes in the latest statistics. `holds`: this member holds partitions. `well`: it has no problem."""
        group = statistics.get("cgrp", {})
        # Under KIP-848 a member without partitions gets no assign callback, because librdkafka calls back only for
        # changes. But it heartbeats as soon as its coordinator is up, and a refused heartbeat is a problem.
        self._idle = self._kip_848 and group.get("state") == "up" and well
        if not (self._kip_848 or holds) and group.get("join_state") in _WAITS:
            self.begin_anew()
            return
        # Only the group's requests use this connection, mostly heartbeats. A new connection has received nothing: -1.
        idle_us = statistics["brokers"].get("GroupCoordinator", {}).get("rxidle", -1)
        if idle_us >= 0:
            self._heard_at = (statistics["ts"] - idle_us) / 1e6  # Linux: both are CLOCK_MONOTONIC
