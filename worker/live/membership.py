"""A worker's membership of its consumer group: which partitions it has, how it gives them up, what it commits.

It is a step machine. The owner of the loop polls the group and calls `turn` with the records; nothing here sleeps.
`worker.live.loop` drives it by the real clock, the simulation by a virtual one.

The paths: `turn` takes records. A revoke is `begin_revoke`, then `Drain.step` until there is an outcome; the last step
calls `_end_revoke`, which commits and drops. A stop is `begin_stop`, then `Drain.step`; the last calls `_end_stop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.facts import Assigned, DrainEnded, LeaseEnd, LeaseRanOut, PartitionsLost, Revoked
from worker.core.model import Now, Partition, Record
from worker.live.agreement import Agreement
from worker.live.drain import Drain
from worker.live.exchange import BUSY_SECONDS, Exchange
from worker.live.lease import Lease
from worker.live.offsets import Offsets
from worker.live.ports import Group, Reporter
from worker.live.share import Share
from worker.live.slices import Slices


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and for how long; in seconds."""

    commit_seconds: float
    drain_seconds: float


class Membership:
    """One worker in its group, from its first assignment to its stop.

    A loop around it, in short:

        group.subscribe(listener)  # its callbacks call assigned, begin_revoke and lost
        while not stop_asked():
            membership.turn(group.poll(0.1))
        drain = membership.begin_stop()
        while drain.step(clock()) is None:
            group.poll(0.0)
    """

    def __init__(
        self, exchange: Exchange, group: Group, *, lease: Lease, share: Share, pace: Pace, reporter: Reporter
    ) -> None:
        """Begins without partitions: they come by `assigned`."""
        self._exchange = exchange
        self._engine = exchange.engine
        self._clock = exchange.clock
        self._tell = exchange.observer.observe
        self._group = group
        self._lease = lease
        self._share = share
        self._pace = pace
        self._reporter = reporter
        self._agreement = Agreement()
        self._slices = Slices()
        self._offsets = Offsets(group, self._engine, self._clock)
        self._assigned: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._stopping: Drain | None = None
        self._revoking: Drain | None = None  # while the callback of a revoke runs, also during a stop
        self._commit_at = 0.0
        self._rejoins = False  # this turn ends by rejoining the group

    # -- a turn ----------------------------------------------------------------------------------------------------

    def turn(self, records: Sequence[Record], wait_seconds: float = 0.0) -> None:
        """Everything that follows a poll. If a call is in flight, waits up to `wait_seconds` for a reply."""
        self._offsets.read_notes()
        if records:
            self._receive(records)
        self._engine.passed(self._group.passed())
        for deleted in self._group.deleted_unread():
            self._tell(deleted)
        self._step(wait_seconds)
        now = self._clock().mono
        self._apply_pauses()
        if now >= self._commit_at:
            self._commit_at = now + self._pace.commit_seconds
            self._offsets.commit(wait=False)
            self._compare_assignment(now)
        if now >= self._share.ask_at:
            self._take_share(ask=True)
        if self._rejoins:
            self._rejoins = False
            self._group.rejoin()

    @property
    def records_max(self) -> int | None:
        """How many records the next turn should take at most. None: as many as there are."""
        return self._slices.records_max if self._engine.in_flight else None

    def next_due(self, now: Now) -> float:
        """When a turn has something to do even if nothing arrives, in monotonic seconds."""
        return min(self._engine.next_wakeup(now), self._commit_at, self._share.ask_at, self._offsets.notes_due)

    # -- partitions come and go --------------------------------------------------------------------------------------

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Partitions were assigned. During a stop they are paused at once: nothing is read from them."""
        self._assigned.update(partitions)
        self._paused.difference_update(partitions)
        self._engine.assigned(partitions)
        self._offsets.gained(partitions)
        if self._stopping is not None:
            self._group.pause(partitions)
        self._take_share(ask=True)
        self._tell(Assigned(tuple(partitions), len(self._assigned)))

    def begin_revoke(self, partitions: Iterable[Partition]) -> Drain | None:
        """Partitions are about to go. The returned drain commits and drops them when it ends.

        None if none of them is assigned any more: a stop, or a lease that ran out, has dropped them before. During a
        stop, the stop's deadline bounds this drain as well.
        """
        leaving = self._assigned.intersection(partitions)
        if not leaving:
            return None
        bound = math.inf if self._stopping is None else self._stopping.deadline
        self._revoking = self._begin_drain(leaving, bound, self._end_revoke)
        return self._revoking

    def lost(self, partitions: Collection[Partition]) -> None:
        """Partitions were lost to another member: drops what is open in them, and commits nothing."""
        self._lose(partitions)
        self._tell(PartitionsLost(len(partitions), len(self._assigned)))

    # -- the end -----------------------------------------------------------------------------------------------------

    def begin_stop(self, asked_at: float | None = None) -> Drain:
        """Begins to stop. The drain commits and drops all partitions, and only then leaves the group.

        Its deadline counts from `asked_at`, in monotonic seconds (None: now): a revoke may have kept the loop busy.

        The order matters. Under KIP-848, `close` first gives up the membership and then calls back for the revoke. If
        we left first, another worker would send for the same users while this one still drains.
        """
        self._group.pause(self._assigned)
        bound = math.inf if asked_at is None else asked_at + self._pace.drain_seconds
        self._stopping = self._begin_drain(self._assigned, bound, self._end_stop)
        return self._stopping

    def fall_silent(self) -> None:
        """After an error: no call is written any more. Another member may have the partitions soon."""
        self._lease.end()

    def abandon(self) -> None:
        """After an error: sends and commits nothing more, drops everything, and leaves the group at once."""
        self.fall_silent()
        try:
            self._drop(list(self._assigned))
        finally:
            self._group.close()

    # -- status (ports.Standing) -------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether this is a member of the group."""
        return self._group.joined

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers or a topic, in words. None if all is well."""
        return self._group.problem or self._agreement.problem

    @property
    def draining(self) -> bool:
        """Whether a stop is under way."""
        return self._stopping is not None

    @property
    def paused(self) -> Collection[Partition]:
        """The paused partitions."""
        return self._paused

    def committed(self) -> Mapping[Partition, int]:
        """The committed offsets that the brokers acknowledged."""
        return self._group.committed()

    def end_offsets(self) -> Mapping[Partition, int]:
        """The end of each partition's log, as last heard."""
        return self._group.end_offsets()

    # -- steps -------------------------------------------------------------------------------------------------------

    def _receive(self, records: Sequence[Record]) -> None:
        now, open_before = self._clock(), self._engine.open_entries
        self._engine.receive(records, now)
        self._slices.took(len(records), self._clock().mono - now.mono, self._engine.open_entries - open_before)

    def _step(self, wait_seconds: float = 0.0) -> None:
        self._renew_lease()
        self._slices.ended(self._exchange.step(wait_seconds), of=self._exchange.concurrency)
        self._reporter.report(self._clock(), self)

    def _renew_lease(self) -> None:
        silent_seconds = self._lease.renew()
        unheard_seconds = self._group.silent_seconds if self._assigned else 0.0
        if silent_seconds:
            self._fence(LeaseEnd.LOOP_STOOD_STILL, silent_seconds)
        elif not self._lease.heard(unheard_seconds):
            self._fence(LeaseEnd.COORDINATOR_SILENT, unheard_seconds)

    def _fence(self, why: LeaseEnd, silent_seconds: float) -> None:
        """The lease ran out: drops all partitions. Another member may have them, and may have sent newer values."""
        self._tell(LeaseRanOut(why, silent_seconds, dropped=len(self._assigned)))
        self._lose(list(self._assigned))
        self._rejoins = True
        self._lease.begin()

    def _compare_assignment(self, now: float) -> None:
        differs = self._agreement.compare(self._assigned, self._group.assignment(), now)
        if differs is not None:
            self._tell(differs)
            self._rejoins = True

    def _apply_pauses(self) -> None:
        wanted = self._engine.paused()
        if wanted != self._paused:
            self._group.pause(wanted - self._paused)
            self._group.resume(self._paused - wanted)
            self._paused = wanted

    def _take_share(self, *, ask: bool) -> None:
        now = self._clock()
        if ask:
            self._share.ask(now.mono)
        self._engine.share(self._share.of(len(self._assigned)), now)

    def _begin_drain(self, partitions: Collection[Partition], bound: float, on_end: Callable[[Drain], None]) -> Drain:
        now = self._clock()
        deadline = min(now.mono + self._pace.drain_seconds, bound)
        on_step = partial(self._step, BUSY_SECONDS)
        return Drain(self._engine, partitions, begun=now, deadline=deadline, on_step=on_step, on_end=on_end)

    def _end_revoke(self, drain: Drain) -> None:
        self._commit_and_drop(drain)
        self._revoking = None
        if self._stopping is not None:
            self._stopping.include(drain)
            self._stopping.resume()
        outcome = drain.outcome
        if outcome is not None:
            seconds = self._clock().mono - drain.begun.mono
            self._tell(Revoked(len(drain.partitions), len(self._assigned), outcome, seconds))

    def _end_stop(self, drain: Drain) -> None:
        # The last commit leaves out partitions with unread notes, so read these now. A revoke cannot: it is a callback.
        self._offsets.read_notes(now_or_never=True)
        self._commit_and_drop(drain)
        self._group.close()
        self._reporter.report(self._clock(), self)

    def _commit_and_drop(self, drain: Drain) -> None:
        partitions = list(drain.partitions)
        committed = self._offsets.commit(wait=True, only=partitions)
        if committed is not None:
            self._tell(committed)
            if not committed.ok:
                drain.commit_failed()
        self._drop(partitions)
        if drain.outcome is not None:
            self._tell(DrainEnded(drain.outcome, self._clock().mono - drain.begun.mono, drain.left))

    def _lose(self, partitions: Collection[Partition]) -> None:
        """Drops partitions lost to another member, and tells the drains under way."""
        for drain in (self._revoking, self._stopping):
            if drain is not None:
                drain.lose(partitions)
        self._drop(partitions)

    def _drop(self, partitions: Collection[Partition]) -> None:
        self._exchange.drop(partitions)
        self._assigned.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._offsets.gone(partitions)
        self._take_share(ask=False)
