"""One worker: the real engine, and a model of the shell around it.

It does step by step what worker/shell.py does (poll, receive, replies, calls, letters, pauses, commit; drain within a
revoke), but it takes a turn only when there is something to take it for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from tests.simulation.oracle import Closedness, PromiseBroken
from tests.simulation.plan import COMMIT_SECONDS, DRAIN_SECONDS, NUMBERS, SESSION_SECONDS
from worker.core.decode import Decoder
from worker.core.engine import Engine
from worker.core.model import Call, Failure, Letter, Partition, Record, Reply

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_IDLE_SECONDS = 0.25  # between looks, where the engine waits for something other than time
_TURNS_MAX = 20_000


@dataclass(slots=True)
class Flight:
    """A request under way: who sent it, by which assignment, and what had been read by then."""

    member: Member
    call: Call
    user: int
    epoch: int
    position: int
    back_at: float
    cancelled: bool = False
    arrived: bool = False


@dataclass(slots=True)
class Drain:
    """A revoke callback that has not returned."""

    partitions: list[int]
    deadline: float
    returned: Callable[[], None]


@dataclass(slots=True)
class Told:
    """What the next poll hears from the coordinator."""

    what: str
    partitions: list[int]
    generation: int


@dataclass(slots=True)
class _Queues:
    """What other threads have for the main one."""

    coordinator: deque[Told] = field(default_factory=deque)
    replies: list[tuple[Call, Reply]] = field(default_factory=list)
    letters: list[tuple[Letter, str | None]] = field(default_factory=list)
    schemas: list[int] = field(default_factory=list)


class Member:
    """A worker's one life, from its start to its stop or crash."""

    def __init__(self, cluster: Cluster, slot: int, life: int) -> None:
        self.name = f"w{slot}.{life}"
        self.slot = slot
        self.alive = True
        self.stopping = False
        self.frozen_until = 0.0
        self.isolated = False
        self.held: set[int] = set()
        self.generation = -1
        self.positions: dict[int, int] = {}  # where in its log each held partition goes on, as an index
        self.flights: dict[Call, Flight] = {}
        self._cluster = cluster
        self._timeline = cluster.timeline
        self._known_schemas: set[int] = {1}
        self.engine = Engine(
            cluster.plan.options,
            decoder=cast("Decoder", cluster.catalogue.decoder()),
            preflight=cluster.preflight,
            backoff=cluster.backoff,
            now=self._timeline.instant(),
        )
        self._epochs: dict[int, int] = {}
        self._committed: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._asked_schemas: set[int] = set()
        self._closedness = Closedness()
        self._queues = _Queues()
        self._drain: Drain | None = None
        self._next_turn = float("inf")
        self._commit_at = self._timeline.now + COMMIT_SECONDS
        self._turns = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def at_rest(self) -> bool:
        """Nothing is held, under way or unread."""
        engine = self.engine
        return not (engine.open_entries or engine.in_flight or engine.letters_waiting or self._drain)

    def wake(self, _: object = None) -> None:
        """Something came: take a turn now."""
        self.wake_at(self._timeline.now)

    def wake_at(self, when: float) -> None:
        """Take a turn at that instant, if none comes earlier."""
        if self.alive and when < self._next_turn:
            self._next_turn = when
            self._timeline.at(when, self._turn, when)

    def tell(self, what: str, partitions: list[int], generation: int) -> None:
        """The coordinator's word, for the next poll."""
        if what == "lost":
            self._queues.coordinator.clear()
        self._queues.coordinator.append(Told(what, partitions, generation))
        self.wake()

    def stop(self) -> None:
        """SIGTERM: drain everything, commit, leave the group."""
        self.stopping = True
        self.wake()

    def crash(self) -> None:
        """SIGKILL: what was sent may still be applied; everything else is gone."""
        self.alive = False
        for flight in self.flights.values():
            if flight.arrived and not flight.cancelled:
                self._cluster.oracle.ended(flight.user, None, self._timeline.now)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _turn(self, when: float) -> None:
        if not self.alive or when != self._next_turn:
            return
        self._next_turn = float("inf")
        if self._timeline.now < self.frozen_until:
            self.wake_at(self.frozen_until)
            return
        self._turns += 1
        if self._turns > _TURNS_MAX:
            raise PromiseBroken("liveness", f"{self} spins")
        if self._drain is None:
            self._poll()
        if self._drain is not None:
            self._drain_on()
        elif self.alive:
            self._perform()
            self._paused = self.engine.paused()
            if self._timeline.now >= self._commit_at:
                self._commit_at = self._timeline.now + COMMIT_SECONDS
                self._commit()
        if self.alive:
            self._plan_turn()

    def _plan_turn(self) -> None:
        now = self._timeline.now
        ahead = self.engine.next_wakeup(self._timeline.instant())
        if ahead <= now and not self.flights:
            ahead = now + _IDLE_SECONDS
        if ahead > now:
            self.wake_at(ahead)
        self.wake_at(self._commit_at if self._drain is None else self._drain.deadline)

    def _poll(self) -> None:
        queue = self._queues.coordinator
        while queue and self._drain is None and (not self.isolated or queue[0].what == "lost"):
            told = queue.popleft()
            if told.what == "revoke":
                self._revoked([partition for partition in told.partitions if partition in self.held])
            elif told.what == "assign":
                self.generation = told.generation
                self._assigned(told.partitions)
            else:
                self._lost()
        if self._drain is not None:
            return
        if self.stopping:
            self._begin_drain(sorted(self.held), self._left)
            return
        records = self._fetch()
        if records:
            self.engine.receive(records, self._timeline.instant())

    def _fetch(self) -> list[Record]:
        room = self._cluster.plan.poll_records
        records: list[Record] = []
        for partition in self.held:
            log = self._cluster.logs[partition]
            index = self.positions[partition]
            if index >= len(log.records) or log.partition in self._paused:
                continue
            index = max(index, log.index(log.start))
            taken = log.records[index : index + room - len(records)]
            records += taken
            self.positions[partition] = index + len(taken)
        if len(records) == room:
            self.wake_at(self._timeline.now + 0.001)
        return records

    def _commit(self) -> None:
        offsets = {
            partition: offset
            for partition, offset in self.engine.committable().items()
            if self._committed.get(partition) != offset
        }
        if not offsets:
            return
        plain = {partition.number: offset for partition, offset in offsets.items()}
        self._cluster.oracle.committing(plain)
        self._cluster.note(self, "commit", plain)
        if not self.isolated:
            self._cluster.commits.later(self, self.generation, plain, self._commit_answered)

    def _commit_answered(self, offsets: object) -> None:
        for number, offset in cast("dict[int, int]", offsets).items():
            if number in self.held:
                self._committed[Partition("changes", number)] = offset

    # -- rebalance ---------------------------------------------------------------------------------------------------

    def _assigned(self, partitions: list[int]) -> None:
        self._cluster.note(self, "assigned", partitions)
        group, logs = self._cluster.group, self._cluster.logs
        for partition in partitions:
            self.held.add(partition)
            self.positions[partition] = logs[partition].index(group.committed.get(partition, 0))
            self._epochs[partition] = self._cluster.next_epoch()
        self.engine.assigned([logs[partition].partition for partition in partitions])
        self._share()

    def _revoked(self, partitions: list[int]) -> None:
        self._begin_drain(partitions, lambda: self._cluster.group.revoked(self, partitions))

    def _begin_drain(self, partitions: list[int], returned: Callable[[], None]) -> None:
        self._cluster.note(self, "revoked", partitions)
        deadline = self._timeline.now + DRAIN_SECONDS
        self.engine.draining([self._cluster.logs[partition].partition for partition in partitions], deadline)
        self._drain = Drain(partitions, deadline, returned)

    def _drain_on(self) -> None:
        drain, engine = self._drain, self.engine
        if drain is None:
            return
        leaving = [self._cluster.logs[partition].partition for partition in drain.partitions]
        hopeless = engine.halt is not None and not engine.in_flight and not engine.letters_waiting
        if not engine.drained(leaving) and self._timeline.now < drain.deadline and not hopeless:
            self._perform()
            if not engine.drained(leaving):
                return
        offsets = {p.number: o for p, o in engine.committable().items() if p in leaving}
        self._cluster.oracle.committing(offsets)
        if not self.isolated:
            taken = self._cluster.commits.now(self, self.generation, offsets)
            self._cluster.note(self, "drained" if taken else "drained, not committed", offsets)
        self._drop(drain.partitions)
        self._drain = None
        drain.returned()
        if self.alive:
            self.wake_at(self._timeline.now + 0.001)

    def _left(self) -> None:
        self.crash()
        self._cluster.group.remove(self)

    def _lost(self) -> None:
        self._cluster.note(self, "lost", sorted(self.held))
        self._drop(sorted(self.held))
        self._cluster.rejoin(self)

    def _drop(self, partitions: list[int]) -> None:
        dropped = self.engine.dropped([self._cluster.logs[partition].partition for partition in partitions])
        for call in dropped:
            self._abort(call)
        for partition in partitions:
            self.held.discard(partition)
            self._committed.pop(Partition("changes", partition), None)
        self._share()

    def _share(self) -> None:
        self.engine.share(len(self.held) / self._cluster.plan.partitions, self._timeline.instant())

    # -- what the engine decides -------------------------------------------------------------------------------------

    def _perform(self) -> None:
        engine, queues = self.engine, self._queues
        now = self._timeline.instant()
        self._exchange_schemas()
        replies, queues.replies = queues.replies, []
        for call, reply in replies:
            del self.flights[call]
            self._closedness.replied(call, reply, now.mono, self._cluster.plan.options.retry_after_max_seconds)
            engine.replied(call, reply, now)
        for call in engine.calls(self._cluster.plan.options.concurrency - len(self.flights), now):
            self._closedness.starting(call, now.mono)
            self._submit(call)
        letters, queues.letters = queues.letters, []
        for letter, error in letters:
            if error is None:
                engine.letter_written(letter, now)
            else:
                engine.letter_failed(letter, error, now)
        if engine.letters_waiting:
            for letter in engine.letters(now):
                self._cluster.note(self, "letter", letter)
                self._cluster.oracle.published(letter, self.held, now.mono)
                self._cluster.publish(letter, self._reported)
        engine.news()

    def _exchange_schemas(self) -> None:
        answers, self._queues.schemas = self._queues.schemas, []
        for schema_id in answers:
            self._asked_schemas.discard(schema_id)
            self.engine.schema(schema_id, {}, self._timeline.instant())
        for schema_id in self.engine.missing_schemas - self._asked_schemas:
            self._asked_schemas.add(schema_id)
            self._cluster.ask_registry(schema_id, self._schema_came)

    def _schema_came(self, schema_id: int) -> None:
        self._queues.schemas.append(schema_id)
        self.wake()

    def _reported(self, letter: Letter, error: str | None) -> None:
        self._queues.letters.append((letter, error))
        self.wake()

    # -- senders -----------------------------------------------------------------------------------------------------

    def _submit(self, call: Call) -> None:
        cluster, now = self._cluster, self._timeline.now
        user = NUMBERS[call.user]
        partition = user % cluster.plan.partitions
        if partition not in self.held:
            raise PromiseBroken("fencing", f"{self} sends for user {user}, whose partition is another's")
        latency = cluster.attentive.latency()
        position = self.engine.progress()[cluster.logs[partition].partition].position or 0
        flight = Flight(self, call, user, self._epochs[partition], position, now + min(latency, call.timeout_seconds))
        self.flights[call] = flight
        cluster.note(self, "call", call)
        cluster.oracle.started(user, flight.epoch, now, len(cluster.members))
        failure = cluster.attentive.unreachable()
        if failure is not None:
            self._timeline.after(0.0 if failure is Failure.NO_TOKEN else 0.002, self.came, (flight, Reply(None, failure)))
            return
        self._timeline.at(now + latency * cluster.rng.uniform(0.2, 0.9), cluster.arrived, flight)
        if latency > call.timeout_seconds:
            self._timeline.at(flight.back_at, self.came, (flight, Reply(None, Failure.TIMEOUT)))

    def _abort(self, call: Call) -> None:
        flight = self.flights[call]
        self._closedness.forgotten(call)
        if not flight.cancelled:
            flight.cancelled = True
            self._cluster.oracle.ended(flight.user, None, self._timeline.now)
            self._timeline.after(0.0, self._aborted, call)

    def _aborted(self, call: Call) -> None:
        self._queues.replies.append((call, Reply(None, Failure.ABORTED)))
        self.wake()

    def came(self, answer: tuple[Flight, Reply]) -> None:
        """A reply, or what stands for one, has come."""
        flight, reply = answer
        if flight.cancelled or not self.alive:
            return
        flight.cancelled = True  # what arrives after this is not applied: the connection is closed
        self._cluster.oracle.ended(flight.user, reply, self._timeline.now)
        self._cluster.note(self, "reply", (flight.call, reply))
        self._queues.replies.append((flight.call, reply))
        self.wake()


def session_of(member: Member) -> float:
    """How long the coordinator waits for a word of this member, in seconds."""
    return SESSION_SECONDS + 0.1 * member.slot
