"""The loop of `run`, by the real clock: polls the group and turns the membership, until a signal asks for a stop."""

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

FEW_RECORDS: Final = 250  # with more, their turn costs little beside them
POLL_SECONDS: Final = 0.1  # the longest wait for records if there is nothing else to do


def clock() -> Now:
    """Now, by both clocks."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class Loop:
    """Drives a membership, and is the group's listener: a poll calls `assigned`, `revoked` and `lost`."""

    def __init__(
        self, membership: Membership, exchange: Exchange, group: Group, *, gather_seconds: float = 0.0
    ) -> None:
        """`gather_seconds`: how long records may gather while few come, so that a turn takes many of them."""
        self._membership = membership
        self._gather_seconds = gather_seconds
        self._exchange = exchange
        self._group = group
        self._stop_asked: Callable[[], bool] = lambda: False
        self._stop_asked_at: float | None = None  # when the loop first saw it, in monotonic seconds

    def run(self, stop_asked: Callable[[], bool], stopping: Callable[[], None]) -> Drain:
        """Turns until `stop_asked`, then calls `stopping` and drains. Returns the drain, with its outcome.

        Raises:
            Exception: whatever a turn raises. Leaves the group first, so that other members get the partitions at once
                and not after the session time-out.
        """
        self._stop_asked = stop_asked
        self._group.subscribe(self)
        try:
            while not self._is_stop_asked():
                self._turn()
            stopping()
            drain = self._membership.begin_stop(self._stop_asked_at)
            while drain.step(clock()) is None:
                # Polling keeps the membership alive. A record that still arrives is dropped. It stays uncommitted, so
                # the next owner reads it.
                self._group.poll(0.0 if self._exchange.engine.in_flight else BUSY_SECONDS)
        except BaseException:
            # Leaving may raise as well (a fatal consumer cannot even unsubscribe). Raise the first error: it says more.
            with contextlib.suppress(Exception):
                self._membership.abandon()
            raise
        return drain

    def assigned(self, partitions: list[Partition]) -> None:
        """Passes it on to the membership."""
        self._membership.assigned(partitions)

    def lost(self, partitions: list[Partition]) -> None:
        """Passes it on to the membership."""
        self._membership.lost(partitions)

    def revoked(self, partitions: list[Partition]) -> None:
        """Drains, commits and drops the partitions. The group waits until this returns."""
        try:
            drain = self._membership.begin_revoke(partitions)
            while drain is not None and drain.step(clock()) is None:
                self._is_stop_asked()  # a stop counts from its signal, not from the end of this drain
                if not self._exchange.engine.in_flight:
                    time.sleep(BUSY_SECONDS)
        except BaseException:
            # The poll goes on and gives the partitions away, and only then raises this. From now on no call that waits
            # for a connection may be written: the next owner may have sent newer values.
            self._membership.fall_silent()
            raise

    def _is_stop_asked(self) -> bool:
        if self._stop_asked_at is None and self._stop_asked():
            self._stop_asked_at = clock().mono
        return self._stop_asked_at is not None

    def _turn(self) -> None:
        """Polls and turns. If calls are in flight, waits for a reply, else for a record."""
        in_flight = self._exchange.engine.in_flight
        records = self._group.poll(0.0 if in_flight else self._wait_seconds(), self._membership.records_max)
        self._membership.turn(records, wait_seconds=self._wait_seconds() if in_flight and not records else 0.0)
        if self._gather_seconds and 0 < len(records) < FEW_RECORDS and not self._group.more_waits:
            self._gather()

    def _gather(self) -> None:
        """Lets records and replies gather: a turn costs as much as many of them, however few it takes."""
        now = clock()
        until = self._exchange.engine.may_rest_until(now, self._gather_seconds)
        seconds = min(self._gather_seconds, until - now.mono)
        if seconds > 0:
            self._exchange.rest(seconds)

    def _wait_seconds(self) -> float:
        """How long this turn may wait: until the next thing is due, and never long."""
        now = clock()
        longest = BUSY_SECONDS if self._exchange.busy else POLL_SECONDS
        ahead = self._membership.next_due(now) - now.mono
        # Something is due, but the last turn did not do it: it waits for an event, not for time. So don't spin.
        return min(longest, ahead) if ahead > 0 else BUSY_SECONDS
