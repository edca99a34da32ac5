"""A whole cluster in virtual time: workers, Kafka, the destination, and the faults of a plan."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.attentive import Attentive
from tests.simulation.kafka import Commits, Group, Log
from tests.simulation.member import Member
from tests.simulation.oracle import Oracle
from tests.simulation.plan import (
    CLOSER,
    CLOSERS,
    CLOSING_SECONDS,
    NETWORK,
    QUIET,
    SESSION_SECONDS,
    USERS,
    Fault,
    Plan,
    Produced,
)
from tests.simulation.promises import PromiseBroken
from tests.simulation.senders import Flight
from tests.simulation.timeline import BEGINNING, Timeline
from worker.core.events.decode import SchemaMissing, Undecodable
from worker.core.model import Event, Letter, Record, User
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

SETTLE_SECONDS = 240.0  # once faults have stopped, everything is settled within this
RESTART_SECONDS = 1.5
_PREFLIGHT = Preflight(IdentityRules(), AttributeRules())  # keeps nothing of an event, so all runs may share it


class Catalogue:
    """What each record's bytes stand for; Avro itself is tested elsewhere."""

    def __init__(self) -> None:
        self.events: dict[bytes, tuple[int, Event | None]] = {}

    def add(self, produced: Produced) -> bytes | None:
        """The value of the record, which names its event."""
        if produced.kind == "tombstone":
            return None
        value = b"%d" % len(self.events)
        event = None
        if produced.kind != "garbage":
            user = User() if produced.kind == "nobody" else USERS[produced.user]
            event = Event(user, produced.attributes)
        self.events[value] = (produced.schema, event)
        return value

    def decoder(self) -> CatalogueDecoder:
        """A worker's own decoder: it knows no schema but the first."""
        return CatalogueDecoder(self.events)


class CatalogueDecoder:
    """Has the interface of `worker.core.events.decode.Decoder`."""

    def __init__(self, events: dict[bytes, tuple[int, Event | None]]) -> None:
        self._events = events
        self._known = {1}

    def add(self, schema_id: int, _: object) -> None:
        """The registry has answered."""
        self._known.add(schema_id)

    def decode(self, record: Record) -> Event | None:
        """The event of a record."""
        schema, event = self._events[record.value or b""]
        if schema not in self._known:
            raise SchemaMissing(schema)
        if event is None:
            raise Undecodable("not a record of the catalogue")
        return event


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that kept every promise."""

    seconds: float
    calls: int
    records: int


class Cluster:
    """One run of a plan."""

    def __init__(self, plan: Plan, trace: list[str] | None = None) -> None:
        self.plan = plan
        self.trace = trace
        self.rng = random.Random(plan.seed + 1)
        self.timeline = Timeline()
        self.catalogue = Catalogue()
        self.preflight = _PREFLIGHT
        self.logs = [Log(number) for number in range(plan.partitions)]
        self.group = Group(self.timeline, plan.partitions, self.rng, eager=plan.eager)
        self.commits = Commits(self.timeline, self.group, self.rng)
        self.attentive = Attentive(plan, self.timeline, self.rng)
        self.oracle = Oracle(plan, self.logs, self.attentive)
        self.members: list[Member] = []
        self._departed: set[Member] = set()  # left, and the coordinator has not noticed
        self._faults: list[Fault] = []
        self._epoch = 0
        self._lives = 0
        self._registry_queue: list[tuple[int, Callable[[int], None]]] = []

    def run(self) -> Outcome:
        """Runs to the end.

        Raises:
            PromiseBroken: a check failed.
        """
        plan, timeline = self.plan, self.timeline
        for slot in range(plan.workers):
            timeline.at(BEGINNING + self.rng.random(), self._start, slot)
        for produced in plan.records:
            timeline.at(produced.at, self._produce, produced)
        timeline.at(QUIET + 1.0, self._close)
        for fault in plan.faults:
            timeline.at(fault.at, self._begin, fault)
        while timeline.now < QUIET + 2.0 or not self._settled():
            until = timeline.now + 1.0
            timeline.at(until, _nothing)
            while timeline.now < until:
                timeline.step()
            if timeline.now > QUIET + SETTLE_SECONDS:
                raise PromiseBroken("liveness", self._unsettled())
        self.oracle.finished()
        for member in self.members:
            if member.engine.held_bytes:
                raise PromiseBroken("bounded", f"{member} holds {member.engine.held_bytes} bytes of nothing")
        return Outcome(timeline.now - BEGINNING, self.oracle.calls, len(plan.records))

    def _close(self, round_number: object) -> None:
        """Well users speak up, again and again until all is settled."""
        number = int(round_number) if isinstance(round_number, int) else 0
        if number and self._settled():
            return
        for user in range(CLOSER, CLOSER + CLOSERS * self.plan.partitions):
            partition = user % self.plan.partitions
            self._produce(Produced(self.timeline.now, partition, user, "change", {"p0": -1 - number}, 0, 1))
        self.timeline.after(CLOSING_SECONDS, self._close, number + 1)

    def note(self, who: object, what: str, about: object) -> None:
        """A line of the trace, where one is kept."""
        if self.trace is not None:
            from tests.simulation.trace import line  # noqa: PLC0415 - needed by failing runs only

            self.trace.append(line(self.timeline.now - BEGINNING, who, what, about))

    def backoff(self, failures: int) -> float:
        """Exponential with full jitter, as the worker's own; that one's generator is not this run's."""
        return self.rng.uniform(0.0, min(self.plan.backoff_max_seconds, 0.2 * 2.0 ** min(failures, 10)))

    def next_epoch(self) -> int:
        """A number for an assignment of a partition; later ones are greater."""
        self._epoch += 1
        return self._epoch

    # -- Kafka -------------------------------------------------------------------------------------------------------

    def publish(self, letter: Letter, report: Callable[[Letter, str | None], None]) -> None:
        """The dead-letter topic takes a letter, or not, or takes it and the report is lost."""
        seconds = self.rng.uniform(0.2, 6.0) if self._on("letters_slow") else 0.005
        fails = self._on("letters_fail") and self.rng.random() < 0.9

        def decide(_: object) -> None:
            if not fails or self.rng.random() < 0.1:
                self.oracle.written(letter)
            report(letter, "the topic is full" if fails else None)

        self.timeline.after(seconds, decide)

    def ask_registry(self, schema_id: int, answer: Callable[[int], None]) -> None:
        """The registry answers, once it is up."""
        if self._on("registry_down"):
            self._registry_queue.append((schema_id, answer))
        else:
            self.timeline.after(0.02, lambda _: answer(schema_id))

    def join(self, member: Member) -> None:
        """A member asks to be let in, once it can."""
        if member.isolated:
            self.timeline.after(0.5, lambda _: self.join(member))
        elif member.alive:
            self._forget(member)
            self.group.join(member)

    def leave(self, member: Member) -> None:
        """A member says good-bye; if it cannot, the coordinator notices after the session time-out."""
        if member.isolated:
            self._departed.add(member)
            self.timeline.after(SESSION_SECONDS, self._forget, member)
        else:
            self.group.remove(member)

    def _forget(self, member: Member) -> None:
        """The end of a membership whose good-bye was not heard; one that the member began since is another."""
        if member in self._departed:
            self._departed.discard(member)
            self.group.remove(member)

    def _produce(self, produced: Produced) -> None:
        log = self.logs[produced.partition]
        record = log.append(self.catalogue.add(produced), produced.gap, self.timeline.instant().wall_ms)
        self.oracle.appended(record, produced)
        self.note(log.partition.number, "record", (record.offset, produced))
        owner = self.group.owners[produced.partition]
        if isinstance(owner, Member):
            owner.wake_at(self.timeline.now + 0.004)

    # -- the destination ---------------------------------------------------------------------------------------------

    def arrived(self, flight: Flight) -> None:
        """A request reaches the destination, or not."""
        if not flight.senders.arrives(flight):
            return
        reply = self.attentive.answer(
            flight.user,
            flight.call,
            lambda: self.oracle.applied(flight.user, flight.call.properties, flight.epoch, flight.reach),
        )
        self.timeline.at(flight.back_at, flight.senders.came, (flight, reply))

    # -- faults ------------------------------------------------------------------------------------------------------

    def _on(self, kind: str) -> bool:
        return any(fault.kind == kind for fault in self._faults)

    def _begin(self, fault: Fault) -> None:
        self.note("fault", fault.kind, fault)
        until = min(self.timeline.now + fault.seconds, QUIET)
        if fault.kind in NETWORK:
            self.attentive.faults.append(fault)
        else:
            self._faults.append(fault)
        self.timeline.at(until, self._end, fault)
        member = next((member for member in self.members if member.slot == fault.target), None)
        match fault.kind:
            case "join":
                self._start(100 + len(self.members))
            case "commit_slow":
                self.oracle.excuse_duplicates()  # a late commit may take the group's offset back
            case "rebalance":
                self.group.rebalance_soon()
            case "clock":
                self.timeline.wall_step_ms += int(fault.how) * 1000
            case "retain":
                self._retain(fault)
            case "crash" | "freeze" | "isolate" | "stop" if member is not None:
                self._strike(fault, member, until)
        self.commits.failing, self.commits.slow = self._on("commit_fails"), self._on("commit_slow")

    def _end(self, fault: Fault) -> None:
        if fault.kind in NETWORK:
            self.attentive.faults.remove(fault)
        else:
            self._faults.remove(fault)
        self.commits.failing, self.commits.slow = self._on("commit_fails"), self._on("commit_slow")
        if not self._on("registry_down"):
            waiting, self._registry_queue = self._registry_queue, []
            for schema_id, answer in waiting:
                answer(schema_id)

    def _strike(self, fault: Fault, member: Member, until: float) -> None:
        if member.frozen or member.isolated or (member.stop_asked and fault.kind in {"crash", "stop"}):
            return
        if fault.kind == "freeze":
            member.freeze()
            self.timeline.at(until, lambda _: member.thaw(amid_turn=fault.how == "amid"))
            self.timeline.after(SESSION_SECONDS, self._expire, (member, until))
        elif fault.kind == "isolate":
            member.cut_off()
            self.timeline.at(until, lambda _: member.reconnect())
            self.timeline.after(SESSION_SECONDS, self._expire, (member, until))
        elif fault.kind == "stop":
            member.stop()
            self.timeline.after(RESTART_SECONDS, self._start, member.slot)
        else:
            self.members.remove(member)
            member.crash()
            self.timeline.after(SESSION_SECONDS, self._expire, (member, float("inf")))
            self.timeline.after(RESTART_SECONDS, self._start, member.slot)

    def _expire(self, what: tuple[Member, float]) -> None:
        """The coordinator has not heard of a member for the session time-out."""
        member, until = what
        if until < self.timeline.now or member not in self.group:
            return
        self.note("coordinator", "expels", member)
        self.oracle.excuse_duplicates()
        self.group.remove(member)
        if member.alive:
            member.tell("lost", [], -1)

    def _retain(self, fault: Fault) -> None:
        partition = fault.target % self.plan.partitions
        log = self.logs[partition]
        committed = self.group.committed.get(partition, 0)
        start = log.end if fault.how == "everything" else committed
        if start > log.start:
            self.oracle.truncated(partition, start, committed)
            log.start = start

    # -- the beginning and the end -----------------------------------------------------------------------------------

    def _start(self, slot: int) -> None:
        self._lives += 1
        member = Member(self, slot, self._lives)
        self.members = [other for other in self.members if other.alive]
        self.members.append(member)
        self.note(member, "starts", "")
        self.group.join(member)

    def _settled(self) -> bool:
        self.members = [member for member in self.members if member.alive]
        if any(self.group.committed.get(number, 0) < log.end for number, log in enumerate(self.logs)):
            return False
        return all(member.at_rest for member in self.members)

    def _unsettled(self) -> str:
        behind = {
            number: (self.group.committed.get(number), log.end)
            for number, log in enumerate(self.logs)
            if self.group.committed.get(number, 0) < log.end
        }
        return f"committed and end of partitions {behind}; busy: {[m for m in self.members if not m.at_rest]}"


def _nothing(_: object) -> None:
    """Gives the main loop a moment to look."""
