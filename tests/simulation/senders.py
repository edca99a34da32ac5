"""A model of a process's requests in flight: each one's way to the destination and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Protocol

from tests.simulation.gate_check import GateCheck
from tests.simulation.plan import NUMBERS
from tests.simulation.promises import PromiseBroken
from worker.core.model import Call, Failure, Letter, Reply
from worker.live.drain import Drain

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_ABORT_SECONDS = 0.05  # an abort takes up to this long; its request may still arrive first


class Watch(Protocol):
    """The checks on what a process sends. Each may raise `PromiseBroken`."""

    def started(self, now: float, workers: int, /) -> None:
        """A call starts, beside so many workers."""

    def request_written(self, flight: Flight, now: float, /) -> None:
        """Its request is written: when it starts, or late, by a process that froze before it could write."""

    def ended(self, flight: Flight, reply: Reply | None, now: float, /) -> None:
        """It is over for the process, by a reply, or None where it was given up."""

    def applied(self, flight: Flight, now: float, /) -> None:
        """The destination has set its properties."""

    def published(self, letter: Letter, reach: Mapping[int, int], now: float, /) -> None:
        """A process whose positions are `reach` hands a letter to its producer."""

    def written(self, letter: Letter, /) -> None:
        """A letter is in the dead-letter topic."""


class Owner(Protocol):
    """The process that sends: a worker or a job."""

    watch: Watch

    @property
    def drain(self) -> Drain | None:
        """The drain that is under way."""

    def reach(self) -> dict[int, int]:
        """Its position in each partition, by number."""

    def epoch(self, user: int) -> int:
        """The number of the assignment that entitles it to call for a user."""

    def wake(self) -> None:
        """Takes a turn now: something has come."""


@dataclass(slots=True, eq=False)
class Flight:
    """A request under way.

    Attributes:
        owner: the process that sent it.
        epoch: the number of the assignment that it was sent under.
        reach: the process's position in each partition when it was sent.
        write_until: a process that froze does not write it later than this.
        back_at: when its reply is due.
        counted: the destination may still apply it, so the oracle counts it as in flight.
        arrived: it has reached the destination.
        unwritten: the process froze before the request's first byte was written.
        unreachable: no connection came about, so it is never written.
        cut: the main loop has aborted it.
        over: its reply, or the failure in place of one, is decided.
    """

    senders: Senders
    owner: Owner
    call: Call
    user: int
    epoch: int
    reach: Mapping[int, int]
    back_at: float
    write_until: float
    counted: bool = True
    arrived: bool = False
    unwritten: bool = False
    unreachable: bool = False
    cut: bool = False
    over: bool = False


class Senders:
    """Implements the port `worker.live.ports.Senders`. Requests go on beside the main loop, whatever it is at: that is
    more than the worker's do, which go on only while it turns them. A freeze stops both."""

    def __init__(self, cluster: Cluster, owner: Owner, may_send: Callable[[], bool], concurrency: int) -> None:
        self.alive = True
        self.gate_check = GateCheck()
        self._flights: dict[Call, Flight] = {}
        self._cluster = cluster
        self._timeline = cluster.timeline
        self._owner = owner
        self._may_send = may_send
        self._concurrency = concurrency
        self._finished: list[tuple[Call, Reply]] = []

    @property
    def free(self) -> int:
        """How many calls may be submitted now."""
        return self._concurrency - len(self._flights)

    def submit(self, call: Call) -> None:
        """Sends a call under the process's present assignment.

        Raises:
            PromiseBroken: the call may not start now, or may outlast the drain.
        """
        cluster, now = self._cluster, self._timeline.now
        self.gate_check.starting(call, now)
        drain = self._owner.drain
        if drain is not None and now + call.timeout_seconds > drain.deadline + 1e-6:
            raise PromiseBroken("bounded", f"{self._owner}: call {call.number} may outlast the drain")
        latency = cluster.attentive.latency()
        user = NUMBERS[call.user]
        epoch = self._owner.epoch(user)
        back_at = now + min(latency, call.timeout_seconds)
        flight = Flight(self, self._owner, call, user, epoch, self._owner.reach(), back_at, self._write_until())
        self._flights[call] = flight
        cluster.add_to_trace(self._owner, "call", call)
        self._owner.watch.started(now, len(cluster.members))
        if now > flight.write_until:
            flight.unwritten = True
            self._timeline.after(0.0, self._write, flight)
            return
        self._owner.watch.request_written(flight, now)
        failure = cluster.attentive.unreachable()
        if failure is not None:
            flight.unreachable = True
            seconds = 0.0 if failure is Failure.NO_TOKEN else 0.002
            self._timeline.after(seconds, self.came, (flight, Reply(None, failure)))
            return
        self._timeline.at(now + latency * cluster.rng.uniform(0.2, 0.9), cluster.arrived, flight)
        if latency > call.timeout_seconds:
            self._timeline.at(flight.back_at, self.came, (flight, Reply(None, Failure.TIMEOUT)))

    def rest(self, _: float) -> None:
        """Nothing: the loop by the real clock rests, and the timeline goes on by itself."""

    def replies(self, _: float = 0.0) -> list[tuple[Call, Reply]]:
        """The calls that ended since the last call of this."""
        finished, self._finished = self._finished, []
        for call, reply in finished:
            del self._flights[call]
            self.gate_check.replied(call, reply, self._timeline.now, self._cluster.plan.options)
        return finished

    def abort(self, calls: Iterable[Call]) -> None:
        """Aborts calls. The abort takes a moment, in which a request under way may still be applied."""
        for call in calls:
            self.gate_check.forgotten(call)
            self._flights[call].cut = True
            self._timeline.after(self._cluster.rng.uniform(0.0, _ABORT_SECONDS), self._cut, self._flights[call])

    def close(self) -> None:
        """The process ends in order and closes its connections: a request that has not arrived never will."""
        self.alive = False
        for flight in self._flights.values():
            flight.over = True
            self._uncount(flight)

    def crash(self) -> None:
        """The process is killed; requests already written still arrive."""
        self.alive = False
        for flight in self._flights.values():
            if flight.arrived or flight.unwritten or flight.unreachable:
                self._uncount(flight)

    def freeze(self) -> None:
        """The process freezes. About half of the open requests were still connecting, so they are not written yet."""
        for flight in self._flights.values():
            if not flight.over and not flight.arrived and self._cluster.rng.random() < 0.5:
                flight.unwritten = True
                self._uncount(flight)

    def thaw(self) -> None:
        """The process goes on. Its senders may write before or after the main loop's first turn."""
        for flight in self._flights.values():
            if flight.unwritten:
                self._timeline.after(self._cluster.rng.choice((0.0, 0.001)), self._write, flight)

    def came(self, answer: tuple[Flight, Reply]) -> None:
        """A reply, or the failure in place of one, has come."""
        flight, reply = answer
        if not flight.over and not flight.unwritten and self.alive:
            flight.over = True  # its connection is closed: if the request arrives after this, it is not applied
            self._uncount(flight, reply)
            self._cluster.add_to_trace(self._owner, "reply", (flight.call, reply))
            self._finished.append((flight.call, reply))
            self._owner.wake()

    def arrives(self, flight: Flight) -> bool:
        """Whether a request reaches the destination: not if its connection was closed or it was never written."""
        if flight.over or flight.unwritten:
            return False
        flight.arrived = True
        if not self.alive:
            self._uncount(flight)
            return self._timeline.now <= flight.back_at
        return True

    def _write(self, flight: Flight) -> None:
        if flight.over or not self.alive:
            return
        flight.unwritten = False
        if not self._may_send() or flight.cut or self._timeline.now > flight.write_until:
            self.came((flight, Reply(None, Failure.ABORTED)))
            return
        self._cluster.add_to_trace(self._owner, "writes late", flight.call)
        self._owner.watch.request_written(flight, self._timeline.now)
        flight.counted = True
        flight.back_at = self._timeline.now + 0.01
        self._timeline.after(0.005, self._cluster.arrived, flight)

    def _write_until(self) -> float:
        return inf

    def _cut(self, flight: Flight) -> None:
        flight.unwritten = False
        self.came((flight, Reply(None, Failure.ABORTED)))

    def _uncount(self, flight: Flight, reply: Reply | None = None) -> None:
        if flight.counted:
            flight.counted = False
            self._owner.watch.ended(flight, reply, self._timeline.now)
