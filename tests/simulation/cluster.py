"""One simulated cluster in virtual time: workers, Kafka, the destination, and the faults of one plan. Start here.

Real, that is the worker's own code: the core (`worker/core`, the engine and everything below it), and of `worker/live`
the exchange, the membership with its offset notes, the drains, the lease and the rate share. Each worker has its own.

Models, one file each:

- `kafka.py`: the partition logs, the group coordinator, the commits; `subscription.py`: the worker's consumer.
- `attentive.py`: the destination; `senders.py`: the worker's requests in flight and their way there and back.
- `parts.py`: the dead-letter producer, the registry client, the token.
- `member.py`: the loop. It polls and turns the real membership, as `worker/live/loop.py` does by the real clock.
- here: the decoder (it looks the event up, so no Avro), the backoff's jitter, the dead-letter topic and the registry.

In the scenario `replay` (`replay_plan.py`) a real replay runs beside the workers: `replays.py` starts its processes one
after the other, `job.py` is one of them, `replay_ports.py` models what it has beside a worker's ports,
`replay_check.py` checks it, and `replay_mutations.py` breaks it on purpose. In the scenario `redrive` it is a redrive:
`redrive_plan.py`, `redrives.py`, `redrive_check.py` and `redrive_mutations.py`.

Around them: `plan.py` makes a plan from a seed, `timeline.py` is the clock, `cluster.py` runs the plan. The checks are
in `oracle.py`, `lanes.py`, `gate_check.py` and `drain_check.py`; the first broken promise ends the run. `mutations.py`
and `sparing_mutations.py` break the real code on purpose, to prove that the checks can fail.

A run depends on its seed alone. To see a failing seed again: `scripts/simulate --seeds 1 --from SEED` shrinks its plan
and prints the trace of the small one; `scripts/simulate --trace --from SEED` prints the whole run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.simulation.attentive import Attentive
from tests.simulation.kafka import Commits, Group, Log
from tests.simulation.member import Member
from tests.simulation.oracle import Oracle
from tests.simulation.plan import (
    CLOSER,
    CLOSERS,
    CLOSING_SECONDS,
    FOREIGN,
    JOB,
    NETWORK,
    PRODUCE_SECONDS,
    QUIET,
    SESSION_SECONDS,
    USERS,
    Fault,
    Plan,
    Produced,
)
from tests.simulation.promises import PromiseBroken
from tests.simulation.redrives import Redrives
from tests.simulation.replays import Replays
from tests.simulation.senders import Flight
from tests.simulation.timeline import BEGINNING, Timeline
from worker.core.events.decode import SchemaMissing, Undecodable
from worker.core.events.plans import Sendable
from worker.core.letters.datum import letter_id
from worker.core.model import Event, Letter, Record, SchemaId, User
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

SETTLE_SECONDS = 600.0  # after the last fault ends, everything must be settled and committed within this
RESTART_SECONDS = 1.5
PROGRESS_SECONDS = 3.0  # after the last record, before a look at what was delivered
_PREFLIGHT = Preflight(IdentityRules(), AttributeRules())  # has no state, so all runs may share it


class Catalogue:
    """The event behind each record's value. The value is only a number to look it up by; Avro is tested elsewhere."""

    def __init__(self) -> None:
        self.events: dict[bytes, tuple[int, Event | None]] = {}

    def add(self, produced: Produced) -> bytes | None:
        """Returns the value to append to the log; None for a tombstone."""
        if produced.kind == "tombstone":
            return None
        value = b"%d" % len(self.events)
        event = None
        if produced.kind != "garbage":
            user = User() if produced.kind == "nobody" else USERS[produced.user]
            event = Event(user, produced.attributes)
        self.events[value] = (produced.schema, event)
        return value

    def decoder(self, *, knows_all: bool = False) -> CatalogueDecoder:
        """A decoder for one process. It knows schema 1 only, or all; a worker must ask the registry for others."""
        return CatalogueDecoder(self.events, knows_all=knows_all)


class CatalogueDecoder:
    """Has the interface of `worker.core.events.decode.Decoder`."""

    def __init__(self, events: dict[bytes, tuple[int, Event | None]], *, knows_all: bool) -> None:
        self._events = events
        self._knows_all = knows_all
        self._known: set[SchemaId] = {1}
        self._preflight: Preflight | None = None

    def add(self, schema_id: SchemaId, _: object) -> None:
        """The registry answered: this schema is known from now on."""
        self._known.add(schema_id)

    def is_tombstone(self, record: Record) -> bool:
        """Whether the record has no value."""
        return record.value is None

    def decode(self, record: Record) -> Event | None:
        """The event of a record.

        Raises:
            SchemaMissing: the worker has not added the record's schema yet.
            Undecodable: the record is garbage.
        """
        schema, event = self._events[record.value or b""]
        if schema not in self._known and not self._knows_all:
            raise SchemaMissing(schema)
        if event is None:
            raise Undecodable("not a record of the catalogue")
        return event

    def go_on_to(self, preflight: Preflight) -> None:
        """`decode_on` goes on to preflight."""
        self._preflight = preflight

    def decode_on(self, record: Record) -> Event | Sendable | None:
        """As of the real one, by way of the event."""
        event = self.decode(record)
        if event is None or self._preflight is None:
            return event
        checked = self._preflight.check(event)
        if not (checked.key and checked.accepted) or checked.sent or checked.refusals or checked.dropped_identifiers:
            return event
        return checked.key, dict(checked.accepted), event.occurred_at_ms, event.event_id, checked.passed_over


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that kept every promise."""

    seconds: float
    calls: int
    records: int


class Cluster:
    """One run of a plan. `trace`, where given, gets one line for each thing that happens."""

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
        self.replays = self._jobs()
        self.letters: list[Letter] = []  # the dead-letter topic
        self.members: list[Member] = []
        self._departed: set[Member] = set()  # left while cut off; the coordinator still counts them as members
        self._faults: list[Fault] = []
        self._epoch = 0
        self._lives = 0
        self._registry_queue: list[tuple[SchemaId, Callable[[SchemaId], None]]] = []

    def _jobs(self) -> Replays | None:
        wish = self.plan.wish
        if wish is None:
            return None
        return Replays(self, wish) if wish.extended_at is None else Redrives(self, wish)

    def run(self) -> Outcome:
        """Runs until the faults are over and everything is settled.

        Raises:
            PromiseBroken: a check failed, or the run did not settle in SETTLE_SECONDS.
        """
        plan, timeline = self.plan, self.timeline
        for slot in range(plan.workers):
            timeline.at(BEGINNING + self.rng.random(), self._start, slot)
        for produced in plan.records:
            timeline.at(produced.at, self._produce, produced)
        if self.replays is not None and plan.wish is not None:
            timeline.at(plan.wish.at, self.replays.start)
        timeline.at(QUIET + 1.0, self._close)
        timeline.at(BEGINNING + PRODUCE_SECONDS + PROGRESS_SECONDS, lambda _: self.oracle.check_progress())
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
            counted = member.engine.held_bytes - member.engine.status(timeline.instant()).remembered_bytes
            if counted:
                raise PromiseBroken("bounded", f"{member} counts {counted} bytes, but holds nothing")
        return Outcome(timeline.now - BEGINNING, self.oracle.calls, len(plan.records))

    def _close(self, round_number: object) -> None:
        """Produces records of healthy users, in rounds, until all is settled.

        A halt or withheld letters may be waiting for a success, and only a healthy user's call can bring one.
        """
        number = int(round_number) if isinstance(round_number, int) else 0
        if number and self._settled():
            return
        for user in range(CLOSER, CLOSER + CLOSERS * self.plan.partitions):
            partition = user % self.plan.partitions
            self._produce(Produced(self.timeline.now, partition, user, "change", {"p0": -1 - number}, 0, 1))
        self.timeline.after(CLOSING_SECONDS, self._close, number + 1)

    def add_to_trace(self, who: object, what: str, about: object) -> None:
        """Adds a line to the trace, if the run keeps one."""
        if self.trace is not None:
            from tests.simulation.trace import line  # noqa: PLC0415 - needed by failing runs only

            self.trace.append(line(self.timeline.now - BEGINNING, who, what, about))

    def backoff(self, failures: int) -> float:
        """Exponential with full jitter, like the worker's own, but drawn from the run's seeded generator."""
        return self.rng.uniform(0.0, min(self.plan.backoff_max_seconds, 0.2 * 2.0 ** min(failures, 10)))

    def next_epoch(self) -> int:
        """Numbers the assignments of partitions: a later assignment has a greater number."""
        self._epoch += 1
        return self._epoch

    # -- Kafka -------------------------------------------------------------------------------------------------------

    def publish(
        self, letter: Letter, written: Callable[[Letter], None], report: Callable[[Letter, str | None], None]
    ) -> None:
        """The dead-letter topic writes a letter and reports so; under `letters_fail` it mostly reports an error.

        One in ten of those that report an error was written all the same.
        """
        seconds = self.rng.uniform(0.2, 6.0) if self._on("letters_slow") else 0.005
        fails = self._on("letters_fail") and self.rng.random() < 0.9

        def decide(_: object) -> None:
            if not fails or self.rng.random() < 0.1:
                self.letters.append(letter if letter.id else replace(letter, id=letter_id(letter)))
                written(letter)
            report(letter, "the topic is full" if fails else None)

        self.timeline.after(seconds, decide)

    def ask_registry(self, schema_id: SchemaId, answer: Callable[[SchemaId], None]) -> None:
        """The registry answers; while it is down, questions wait for its return."""
        if self._on("registry_down"):
            self._registry_queue.append((schema_id, answer))
        else:
            self.timeline.after(0.02, lambda _: answer(schema_id))

    def join(self, member: Member) -> None:
        """A member joins the group; while it is cut off from the brokers it tries again."""
        if member.isolated:
            self.timeline.after(0.5, lambda _: self.join(member))
        elif member.alive:
            self._forget(member)
            self.group.join(member)

    def leave(self, member: Member) -> None:
        """A member leaves the group. Cut off, it cannot say so, and the session time-out removes it."""
        if member.isolated:
            self._departed.add(member)
            self.timeline.after(SESSION_SECONDS, self._forget, member)
        else:
            self.group.remove(member)

    def departed(self, member: Member) -> bool:
        """Whether the member left its membership unheard, so that the group's news for it reach nobody."""
        return member in self._departed

    def _forget(self, member: Member) -> None:
        """Ends a membership that the member left unheard.

        The member leaves while cut off, reconnects, and joins again before the session time-out. `join` then ends the
        old membership, and the time-out must not end the new one.
        """
        if member in self._departed:
            self._departed.discard(member)
            self.group.remove(member)

    def _produce(self, produced: Produced) -> None:
        log = self.logs[produced.partition]
        record = log.append(self.catalogue.add(produced), produced.gap, self.timeline.instant().wall_ms)
        self.oracle.appended(record, produced, self.timeline.now)
        self.add_to_trace(log.partition.number, "record", (record.offset, produced))
        owner = self.group.owners[produced.partition]
        if isinstance(owner, Member):
            owner.wake_at(self.timeline.now + 0.004)

    # -- the destination ---------------------------------------------------------------------------------------------

    def arrived(self, flight: Flight) -> None:
        """A request reaches the destination, unless its connection was closed first; the reply goes on its way."""
        if not flight.senders.arrives(flight):
            return
        reply = self.attentive.answer(
            flight.user, flight.call, lambda: flight.owner.watch.applied(flight, self.timeline.now)
        )
        self.timeline.at(flight.back_at, flight.senders.came, (flight, reply))

    # -- faults ------------------------------------------------------------------------------------------------------

    def _on(self, kind: str) -> bool:
        return any(fault.kind == kind for fault in self._faults)

    def _begin(self, fault: Fault) -> None:
        self.add_to_trace("fault", fault.kind, fault)
        until = min(self.timeline.now + fault.seconds, QUIET)
        if self.replays is not None and fault.kind in JOB:
            self.replays.strike(fault, until)
            return
        if fault.kind in NETWORK or fault.kind == FOREIGN:
            self.attentive.faults.append(fault)
        else:
            self._faults.append(fault)
        self.timeline.at(until, self._end, fault)
        member = next((member for member in self.members if member.slot == fault.target), None)
        match fault.kind:
            case "join":
                self._start(100 + len(self.members))
            case "commit_slow":
                self.oracle.excuse_duplicates()  # a late commit may overwrite a newer one with a lower offset
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
        if fault.kind in NETWORK or fault.kind == FOREIGN:
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
        """The session time-out of a crashed, frozen or cut-off member, unless it was back by then (`until`)."""
        member, until = what
        if until < self.timeline.now or member not in self.group:
            return
        self.add_to_trace("coordinator", "expels", member)
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
            if self.replays is not None:
                self.replays.truncated(partition, start)
            log.start = start

    # -- the beginning and the end -----------------------------------------------------------------------------------

    def _start(self, slot: int) -> None:
        self._lives += 1
        member = Member(self, slot, self._lives)
        self.members = [other for other in self.members if other.alive]
        self.members.append(member)
        self.add_to_trace(member, "starts", "")
        self.group.join(member)

    def _settled(self) -> bool:
        self.members = [member for member in self.members if member.alive]
        if any(self.group.committed.get(number, 0) < log.end for number, log in enumerate(self.logs)):
            return False
        return all(member.at_rest for member in self.members) and (self.replays is None or self.replays.settled)

    def _unsettled(self) -> str:
        behind = {
            number: (self.group.committed.get(number), log.end)
            for number, log in enumerate(self.logs)
            if self.group.committed.get(number, 0) < log.end
        }
        busy = [member for member in self.members if not member.at_rest]
        job = "" if self.replays is None or self.replays.over else f"; the job is not done: {self.replays.job}"
        return f"committed and end of partitions {behind}; busy: {busy}{job}"


def _nothing(_: object) -> None:
    """Stops the timeline at an instant, so that `run` can look whether all is settled."""
