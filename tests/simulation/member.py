"""One simulated worker: the real engine, exchange, membership, drains and lease, wired to models of their ports.

This file stands in for worker/live/loop.py. On each turn it polls, passes on what the group said, and turns the real
membership; in a revoke callback or a stop it steps the real drain instead. The real loop turns all the time; this one
turns only when something has happened or is due, since empty turns would make a run slow.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, cast

from tests.simulation.drain_check import DrainCheck
from tests.simulation.parts import DeadLetters, Schemas, Token
from tests.simulation.plan import COMMIT_SECONDS, DRAIN_SECONDS, LEASE_SECONDS
from tests.simulation.promises import PromiseBroken
from tests.simulation.senders import Senders, Watch
from tests.simulation.subscription import Subscription, Told
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.facts import DrainOutcome, Fact, LeaseRanOut
from worker.core.model import Now, Partition
from worker.live.drain import Drain
from worker.live.exchange import Exchange
from worker.live.lease import Lease
from worker.live.membership import Membership, Pace
from worker.live.ports import Standing
from worker.live.share import Share

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_IDLE_SECONDS = 0.25  # between turns, while the engine waits for something other than time
_TURNS_MAX = 20_000  # of one life; more means that the worker spins


class Member:
    """One process of a worker, from its start to its stop or crash. A restart in the same slot is another Member."""

    def __init__(self, cluster: Cluster, slot: int, life: int) -> None:
        self.name = f"w{slot}.{life}"
        self.slot = slot
        self.alive = True
        self.frozen = False
        self.freezes = 0
        self.stop_asked = False
        self.watch: Watch = cluster.oracle
        self._cluster = cluster
        self._timeline = cluster.timeline
        lease = Lease(LEASE_SECONDS, lambda: cluster.timeline.now)
        self.group = Subscription(cluster, self)
        self.senders = Senders(cluster, self, lease.holds, cluster.plan.options.concurrency)
        self.engine = Engine(
            cluster.plan.options,
            decoder=cast("Decoder", cluster.catalogue.decoder()),
            preflight=cluster.preflight,
            backoff=cluster.backoff,
            now=self._timeline.instant(),
        )
        exchange = Exchange(
            self.engine,
            senders=self.senders,
            letters=DeadLetters(cluster, self),
            schemas=Schemas(cluster, self),
            token=Token(),
            clock=self._timeline.instant,
            observer=self,
        )
        self.membership = Membership(
            exchange,
            self.group,
            lease=lease,
            share=Share(lambda: cluster.plan.partitions),
            pace=Pace(COMMIT_SECONDS, DRAIN_SECONDS),
            reporter=self,
        )
        self._revoke: Drain | None = None  # the drain of a revoke callback that has not returned
        self._going: list[int] = []  # the partitions of the latest revoke
        self._leaves = False  # with that revoke, it leaves the group
        self._stop: Drain | None = None
        self._drain_check = DrainCheck(self)
        self._amid_turn = False  # it was frozen between its poll and its calls, and has not turned since
        self._next_turn = inf
        self._turns = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def at_rest(self) -> bool:
        """Whether it has no open entry, call, dead letter or drain."""
        engine = self.engine
        return not (engine.open_entries or engine.in_flight or engine.letters_waiting or self.drain)

    @property
    def drain(self) -> Drain | None:
        """The drain that this worker steps now: a revoke's goes before a stop's."""
        return self._revoke or self._stop

    @property
    def isolated(self) -> bool:
        """Whether it is cut off from the brokers. It may still reach the destination."""
        return self.group.contact.lost

    def reach(self) -> dict[int, int]:
        """The engine's position in each partition that it holds, by number."""
        return {partition.number: progress.position or 0 for partition, progress in self.engine.progress().items()}

    def epoch(self, user: int) -> int:
        """The number of the assignment that entitles this worker to call for a user.

        0 for a user with records in two partitions: between two owners nothing orders that user's calls.

        Raises:
            PromiseBroken: another member owns the user's partition.
        """
        plan, held = self._cluster.plan, self.group.held
        home = user % plan.partitions
        if user in plan.shared and (home in held or (home + 1) % plan.partitions in held):
            return 0
        if home not in held:
            raise PromiseBroken("fencing", f"{self} sends for user {user}, whose partition another member owns")
        return self.group.epoch(home)

    # -- what happens to it ------------------------------------------------------------------------------------------

    def wake(self, _: object = None) -> None:
        """Takes a turn now: something has come."""
        self.wake_at(self._timeline.now)

    def wake_at(self, when: float) -> None:
        """Takes a turn at that instant, unless one comes earlier."""
        if self.alive and when < self._next_turn:
            self._next_turn = when
            self._timeline.at(when, self._turn, when)

    def tell(self, what: str, partitions: list[int], generation: int) -> None:
        """Queues what the coordinator says, for the next poll. It is dropped if it is for a membership left before."""
        if self._cluster.departed(self):
            return
        if what == "lost":
            self.group.told.clear()
        self.group.told.append(Told(what, partitions, generation))
        self.wake()

    def cut_off(self) -> None:
        """The network to the brokers breaks."""
        self.group.contact.since = self._timeline.now
        self.wake()

    def reconnect(self) -> None:
        """The network to the brokers is back."""
        self.group.contact.since = None
        self.wake()

    def stop(self) -> None:
        """SIGTERM: drain everything, commit, leave the group."""
        self.stop_asked = True
        self.wake()

    def crash(self) -> None:
        """SIGKILL: requests already sent may still be applied; everything else is lost."""
        self.alive = False
        self._cluster.oracle.excuse_duplicates()
        self.senders.crash()

    def freeze(self) -> None:
        """SIGSTOP: all threads stop where they are."""
        self.frozen = True
        self.freezes += 1
        self.senders.freeze()

    def thaw(self, *, amid_turn: bool) -> None:
        """SIGCONT. With `amid_turn`, the main loop was frozen between its poll and its calls and goes on there."""
        self.frozen = False
        self._amid_turn = amid_turn
        self.senders.thaw()
        self.wake()

    def left(self) -> None:
        """The stop is over: it leaves the group and the process ends."""
        self.alive = False
        self.senders.close()
        self._cluster.leave(self)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _turn(self, when: float) -> None:
        if not self.alive or self.frozen or when != self._next_turn:
            if self.frozen:
                self._next_turn = inf
            return
        self._next_turn = inf
        self._turns += 1
        if self._turns > _TURNS_MAX:
            raise PromiseBroken("liveness", f"{self} spins")
        if self._amid_turn:
            self._amid_turn = False
            if self.drain is None:
                self.membership.turn([])
        self._poll_and_turn()
        if self.alive:
            self._plan_turn()

    def _poll_and_turn(self) -> None:
        """One turn. It ends early while a revoke is drained: the real poll is then inside the revoke callback."""
        if self._revoke is not None and not self._revoke_ended(self._revoke):
            return
        if not self._hear():
            return
        if self.stop_asked:
            self._step_stop()
            return
        records = self.group.poll(0.0)
        if len(records) == self._cluster.plan.poll_records:
            self.wake_at(self._timeline.now + 0.001)
        self.membership.turn(records)

    def _step_stop(self) -> None:
        if self._stop is None:
            self._stop = self.membership.begin_stop()
            self._begun(self._stop)
        if self._stop.step(self._timeline.instant()) is not None:
            self._ended(self._stop)

    def _hear(self) -> bool:
        """Passes on what the coordinator said since the last poll. False while a revoke callback has not returned."""
        told = self.group.told
        while told:
            if self.isolated and self._comes_by_network(told[0]):
                break
            word = told.popleft()
            if word.what in {"revoke", "leave"}:
                self._leaves = word.what == "leave"
                if not self._hear_revoke(word.partitions):
                    return False
            elif word.what == "assign":
                self._cluster.add_to_trace(self, "assigned", word.partitions)
                self.group.gained(word.partitions, word.generation)
                self.membership.assigned(self._named(word.partitions))
                if self.group.leaves_later:
                    self.group.leave()
            else:
                held = sorted(self.group.held)
                self._cluster.add_to_trace(self, "lost", held)
                self._cluster.oracle.excuse_duplicates()
                self._drain_check.lost()
                self.group.leaves_later = False
                self.membership.lost(self._named(held))
                self.group.gone(held)
                self._cluster.join(self)
        return True

    def _comes_by_network(self, word: Told) -> bool:
        return word.what != "leave" and (word.what != "lost" or self._cluster.plan.brokers_lead)

    def _hear_revoke(self, numbers: list[int]) -> bool:
        self._going = numbers
        self._revoke = self.membership.begin_revoke(self._named(numbers))
        if self._revoke is None:
            self._gave_up()
            return True
        self._begun(self._revoke)
        self.group.in_callback = True
        return self._revoke_ended(self._revoke)

    def _revoke_ended(self, drain: Drain) -> bool:
        if drain.step(self._timeline.instant()) is None:
            return False
        self.group.in_callback = False
        self._revoke = None
        self._gave_up()
        self._ended(drain)
        self.wake()
        return True

    def _gave_up(self) -> None:
        self.group.gone(self._going)
        if self._leaves:
            self._cluster.leave(self)
            self._cluster.join(self)
        else:
            self._cluster.group.revoked(self, self._going)

    def _begun(self, drain: Drain) -> None:
        self._cluster.add_to_trace(self, "drains", sorted(partition.number for partition in drain.partitions))
        self._drain_check.begun(drain)

    def _ended(self, drain: Drain) -> None:
        self._cluster.add_to_trace(self, "drained", drain.outcome)
        self._drain_check.ended(drain, self._timeline.now)
        if drain.outcome is not DrainOutcome.DONE:
            self._cluster.oracle.excuse_duplicates()

    def _plan_turn(self) -> None:
        now = self._timeline.now
        if self.drain is not None:
            self._drain_check.goes_on()
        due = self.membership.next_due(self._timeline.instant()) if self.drain is None else self._drain_due()
        if due <= now and not self.engine.in_flight:
            due = now + _IDLE_SECONDS
        if due > now:
            self.wake_at(due)
        if self.group.held and now < (out_at := self.group.contact.misses_at):
            self.wake_at(out_at)

    def _drain_due(self) -> float:
        drain = self.drain
        deadline = inf if drain is None else drain.deadline
        return min(deadline, self.engine.next_wakeup(self._timeline.instant()))

    def _named(self, numbers: list[int]) -> list[Partition]:
        return [self._cluster.logs[number].partition for number in numbers]

    # -- what the loop tells -----------------------------------------------------------------------------------------

    def report(self, _: Now, __: Standing) -> None:
        """Dropped: no check reads the reports."""

    def observe(self, fact: Fact) -> None:
        """When the lease runs out, the next owner may send values again: the oracle allows duplicates from then on."""
        if isinstance(fact, LeaseRanOut):
            self._cluster.add_to_trace(self, "fenced", sorted(self.group.held))
            self._cluster.oracle.excuse_duplicates()
            self._drain_check.lost()
