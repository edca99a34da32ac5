"""The loop of `run`, by the real clock: polls the group and turns the membership, until a signal asks for the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from worker.core.model import Now, Partition
from worker.live.drain import Drain
from worker.live.exchange import BUSY_SECONDS, Exchange
from worker.live.membership import Membership
from worker.live.ports import Group

POLL_SECONDS: Final = 0.1  # the longest wait for records while nothing else is to be done


def clock() -> Now:
    """The present, by both clocks."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class Loop:
    """Turns a membership. It is the group's listener: `assigned`, `revoked` and `lost` come from inside a poll."""

    def __init__(self, membership: Membership, exchange: Exchange, group: Group) -> None:
        self._membership = membership
        self._exchange = exchange
        self._group = group

    def run(self, stop_asked: Callable[[], bool], stopping: Callable[[], None]) -> Drain:
        """Turns until `stop_asked`, says so by `stopping`, and drains. Returns the drain, with its outcome.

        Raises:
            Exception: whatever comes out of a turn; the group was left before, so that it need not wait for a session
                time-out until the partitions are another member's.
        """
        self._group.subscribe(self)
        try:
            while not stop_asked():
                self._turn()
            stopping()
            drain = self._membership.begin_stop()
            while drain.step(clock()) is None:
                # Keeps the membership alive. Records that come all the same are the next owner's: nothing commits them.
                self._group.poll(0.0 if self._exchange.engine.in_flight else BUSY_SECONDS)
        except BaseException:
            # What was raised first says more than what leaving meets: a fatal consumer cannot even unsubscribe.
            with contextlib.suppress(Exception):
                self._membership.abandon()
            raise
        return drain

    def assigned(self, partitions: list[Partition]) -> None:
        """Passes it on."""
        self._membership.assigned(partitions)

    def lost(self, partitions: list[Partition]) -> None:
        """Passes it on."""
        self._membership.lost(partitions)

    def revoked(self, partitions: list[Partition]) -> None:
        """Returns when the partitions are drained, committed and dropped: the group waits for that."""
        drain = self._membership.begin_revoke(partitions)
        while drain is not None and drain.step(clock()) is None:
            if not self._exchange.engine.in_flight:
                time.sleep(BUSY_SECONDS)

    def _turn(self) -> None:
        """Waits for replies while calls are in flight, else for records."""
        in_flight = self._exchange.engine.in_flight
        patience = self._patience_seconds()
        records = self._group.poll(0.0 if in_flight else patience)
        self._membership.turn(records, wait_seconds=patience if in_flight and not records else 0.0)

    def _patience_seconds(self) -> float:
        """How long this turn may wait: until time alone gives it something to do, and never long."""
        now = clock()
        longest = BUSY_SECONDS if self._exchange.busy else POLL_SECONDS
        ahead = self._membership.next_due(now) - now.mono
        # What is due and was not just done waits for something other than time.
        return min(longest, ahead) if ahead > 0 else BUSY_SECONDS
