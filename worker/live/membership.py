"""What a worker owes its consumer group: which partitions are its own, how they are given up, what is committed.

It is a machine of steps. Whoever owns the loop polls the group, tells what came, and turns it; nothing here waits for
time to pass. `worker.live.loop` drives it by the real clock, the simulation by a virtual one.

The paths: a record comes by `turn`; a revoke is `begin_revoke` and then `Drain.step` until it has an outcome; a stop is
`begin_stop`, and the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.facts import Assigned, DrainEnded, LeaseEnd, LeaseRanOut, PartitionsLost, Revoked
from worker.core.model import Now, Partition, Record
from worker.live.drain import Drain
from worker.live.exchange import BUSY_SECONDS, Exchange
from worker.live.lease import Lease
from worker.live.offsets import Offsets
from worker.live.ports import Group, Reporter
from worker.live.share import Share


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and for how long; in seconds."""

    commit_seconds: float
    drain_seconds: float


class Membership:
    """One worker in its group, from its first assignment to its stop."""

    def __init__(
        self, exchange: Exchange, group: Group, *, lease: Lease, share: Share, pace: Pace, reporter: Reporter
    ) -> None:
        """Holds nothing yet: partitions come by `assigned`."""
        self._exchange = exchange
        self._engine = exchange.engine
        self._clock = exchange.clock
        self._tell = exchange.observer.observe
        self._group = group
        self._lease = lease
        self._share = share
        self._pace = pace
        self._reporter = reporter
        self._offsets = Offsets(group, self._engine, self._clock)
        self._held: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._stopping: Drain | None = None
        self._revoking: Drain | None = None  # a revoke's callback has not returned; a stop may be under way around it
        self._commit_at = 0.0
        self._rejoins = False  # the lease ran out: this turn ends with a new membership

    # -- a turn ----------------------------------------------------------------------------------------------------

    def turn(self, records: Sequence[Record], wait_seconds: float = 0.0) -> None:
        """Everything that follows a poll. Waits up to `wait_seconds` for a reply where a call is in flight."""
        self._offsets.read_notes()
        if records:
            self._engine.receive(records, self._clock())
        self._step(wait_seconds)
        now = self._clock().mono
        self._match_pauses()
        if now >= self._commit_at:
            self._commit_at = now + self._pace.commit_seconds
            self._offsets.commit(wait=False)
        if now >= self._share.ask_at:
            self._take_share(ask=True)
        if self._rejoins:
            self._rejoins = False
            self._group.rejoin()

    def next_due(self, now: Now) -> float:
        """The earliest instant at which time alone gives a turn something to do, in monotonic seconds."""
        return min(self._engine.next_wakeup(now), self._commit_at, self._share.ask_at, self._offsets.read_due)

    # -- partitions come and go --------------------------------------------------------------------------------------

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Partitions came, each with a new ledger. Amid a stop nothing of them is read."""
        self._held.update(partitions)
        self._paused.difference_update(partitions)
        self._engine.assigned(partitions)
        self._offsets.gained(partitions)
        if self._stopping is not None:
            self._group.pause(partitions)
        self._take_share(ask=True)
        self._tell(Assigned(len(partitions), len(self._held)))

    def begin_revoke(self, partitions: Iterable[Partition]) -> Drain | None:
        """Partitions are about to go. The drain commits and drops them when it ends; None where none of them is held.

        A stop or a lease that ran out has dropped what is not held any more. Amid a stop its deadline holds.
        """
        leaving = self._held.intersection(partitions)
        if not leaving:
            return None
        bound = math.inf if self._stopping is None else self._stopping.deadline
        self._revoking = self._begin(leaving, bound, self._end_revoke)
        return self._revoking

    def lost(self, partitions: Collection[Partition]) -> None:
        """Partitions are another member's already: what is open of them is dropped, and nothing is committed."""
        self._give_up(partitions)
        self._tell(PartitionsLost(len(partitions), len(self._held)))

    # -- the end -----------------------------------------------------------------------------------------------------

    def begin_stop(self) -> Drain:
        """All that is held is drained, committed and dropped; only then the drain leaves the group.

        The other way round, under KIP-848, `close` gives the membership up before it tells of the revoke: another
        worker would send for the same users while this one still drains.
        """
        self._group.pause(self._held)
        self._stopping = self._begin(self._held, math.inf, self._end_stop)
        return self._stopping

    def abandon(self) -> None:
        """Something was raised: drops everything, commits nothing, and leaves the group at once."""
        self._drop(list(self._held))
        self._group.close()

    # -- how things stand --------------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether this is a member of the group."""
        return self._group.joined

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers, in words."""
        return self._group.problem

    @property
    def draining(self) -> bool:
        """Whether a stop is under way."""
        return self._stopping is not None

    @property
    def paused(self) -> Collection[Partition]:
        """Partitions of which no records are read for now."""
        return self._paused

    def committed(self) -> Mapping[Partition, int]:
        """Committed offsets, as acknowledged."""
        return self._group.committed()

    def end_offsets(self) -> Mapping[Partition, int]:
        """The end of each partition's log, as last heard."""
        return self._group.end_offsets()

    # -- steps -------------------------------------------------------------------------------------------------------

    def _step(self, wait_seconds: float = 0.0) -> None:
        self._renew_lease()
        self._exchange.step(wait_seconds)
        self._reporter.report(self._clock(), self)

    def _renew_lease(self) -> None:
        silent_seconds = self._lease.renew()
        unheard_seconds = self._group.silent_seconds if self._held else 0.0
        if silent_seconds:
            self._fence(LeaseEnd.LOOP_STOOD_STILL, silent_seconds)
        elif not self._lease.heard(unheard_seconds):
            self._fence(LeaseEnd.COORDINATOR_SILENT, unheard_seconds)

    def _fence(self, why: LeaseEnd, silent_seconds: float) -> None:
        """What this process held may be another's, who may have sent newer values since: all of it goes."""
        self._tell(LeaseRanOut(why, silent_seconds, dropped=len(self._held)))
        self._give_up(list(self._held))
        self._rejoins = True
        self._lease.begin()

    def _match_pauses(self) -> None:
        wanted = self._engine.paused()
        if wanted != self._paused:
            self._group.pause(wanted - self._paused)
            self._group.resume(self._paused - wanted)
            self._paused = wanted

    def _take_share(self, *, ask: bool) -> None:
        now = self._clock()
        if ask:
            self._share.ask(now.mono)
        self._engine.share(self._share.of(len(self._held)), now)

    def _begin(self, partitions: Collection[Partition], bound: float, end: Callable[[Drain], None]) -> Drain:
        now = self._clock()
        deadline = min(now.mono + self._pace.drain_seconds, bound)
        act = partial(self._step, BUSY_SECONDS)
        return Drain(self._engine, partitions, begun=now, deadline=deadline, act=act, end=end)

    def _end_revoke(self, drain: Drain) -> None:
        self._commit_and_drop(drain)
        self._revoking = None
        if self._stopping is not None:
            self._stopping.include(drain)
            self._stopping.resume()
        outcome = drain.outcome
        if outcome is not None:
            seconds = self._clock().mono - drain.begun.mono
            self._tell(Revoked(len(drain.partitions), len(self._held), outcome, seconds))

    def _end_stop(self, drain: Drain) -> None:
        self._offsets.read_notes(now_or_never=True)
        self._commit_and_drop(drain)
        self._group.close()
        self._reporter.report(self._clock(), self)

    def _commit_and_drop(self, drain: Drain) -> None:
        partitions = list(drain.partitions)
        committed = self._offsets.commit(wait=True, only=partitions)
        if committed is not None:
            self._tell(committed)
        self._drop(partitions)
        if drain.outcome is not None:
            self._tell(DrainEnded(drain.outcome, self._clock().mono - drain.begun.mono, drain.left))

    def _give_up(self, partitions: Collection[Partition]) -> None:
        """Drops what is another's, also from the drains that are under way."""
        for drain in (self._revoking, self._stopping):
            if drain is not None:
                drain.lose(partitions)
        self._drop(partitions)

    def _drop(self, partitions: Collection[Partition]) -> None:
        self._exchange.drop(partitions)
        self._held.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._offsets.gone(partitions)
        self._take_share(ask=False)
