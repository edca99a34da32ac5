"""The engine: what to send, what a reply means for what was sent, and what may be committed.

It has no clock, no I/O and no threads: `now` comes in, actions come out, and one thread owns it. The loop around it
polls Kafka and performs the actions; a simulation does the same in virtual time.

Life of an entry: `receive` opens it -> `calls` folds and sends it -> `replied` judges the reply -> it is settled,
retried, searched for the refused attribute (isolation), or handed to the outbox -> `committable` passes its offsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from worker.core.delivery.attribution import Attribution
from worker.core.delivery.destination import Destination
from worker.core.delivery.gate import Gate, Halt, HaltReason
from worker.core.delivery.judge import Judge
from worker.core.delivery.rate import Rate
from worker.core.delivery.refusals import Refusals
from worker.core.delivery.schedule import Schedule
from worker.core.delivery.settlement import Settlement
from worker.core.events.decode import Decoder
from worker.core.facts import Fact, Facts, LetterFailed, LetterWritten
from worker.core.intake import Intake, PartitionProgress
from worker.core.letters.outbox import Outbox
from worker.core.letters.storm import Credit, Storm
from worker.core.model import Call, Letter, Now, Partition, Record, Reply, SchemaId, UserKey
from worker.core.options import Options
from worker.core.rules.preflight import Preflight
from worker.core.status import EngineStatus
from worker.core.totals import Totals
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.sparing import Sparing
from worker.core.waiting.window import Window
from worker.core.watchdog import Watchdog


class Engine:
    """Turns records into calls and dead letters, and says which offsets may be committed.

    The loop around it, in short:

    engine.assigned(partitions)
    engine.share(1.0, now)  # all of the token's rate
    while True:
        engine.receive(poll(), now)
        for call in engine.calls(free, now):
            send(call)
        for call, reply in finished():
            engine.replied(call, reply, now)
        for letter in engine.letters(now):
            publish(letter)  # its delivery report: engine.letter_written or letter_failed
        commit(engine.committable())
    """

    def __init__(
        self,
        options: Options,
        *,
        decoder: Decoder,
        preflight: Preflight,
        backoff: Callable[[int], float],
        now: Now,
        rate: Rate | None = None,
    ) -> None:
        """`backoff` gives the pause in seconds after the n-th failure (n from 1), jitter included.

        `rate` is a share of the token's rate by the partitions held, if none is given.
        """
        totals = self.totals = Totals()
        facts = self._facts = Facts()
        memory = self._memory = Memory(options.max_bytes, facts)
        window = self._window = Window(options.window_seconds, memory, search_yields=options.search_yields)
        sparing = self._sparing = Sparing(options.sparing_users_max, options.sparing_seconds, memory)
        record_credit, call_credit = (Credit(options.storm_letters_max, options.storm_share_max) for _ in range(2))
        outbox = self._outbox = Outbox(backoff, storm=Storm(record_credit), call_credit=call_credit, memory=memory)
        destination = self._destination = Destination(
            Attribution(options.server_error_seconds),
            Gate(backoff, probe_max_seconds=options.probe_max_seconds, concurrency=options.concurrency),
            Rate(options.requests_per_second, now.mono) if rate is None else rate,
            Refusals(),
        )
        settlement = Settlement(window, sparing, totals, facts)
        self._schedule = Schedule(
            options.concurrency,
            options.timeout_seconds,
            window=window,
            destination=destination,
            settlement=settlement,
            totals=totals,
            facts=facts,
        )
        self._judge = Judge(
            options,
            schedule=self._schedule,
            destination=destination,
            settlement=settlement,
            outbox=outbox,
            totals=totals,
            facts=facts,
            backoff=backoff,
        )
        self._intake = Intake(
            decoder, preflight, window=window, sparing=sparing, outbox=outbox, memory=memory, totals=totals, facts=facts
        )
        self._watchdog = Watchdog(
            options.window_seconds, intake=self._intake, window=window, outbox=outbox, destination=destination
        )
        self._ledgers: dict[Partition, Ledger] = {}
        self._leaving: list[Ledger] = []  # the ledgers of the partitions in a drain

    # -- assignment ------------------------------------------------------------------------------------------------

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Partitions were assigned to this worker: each gets a new ledger."""
        for partition in partitions:
            if partition in self._ledgers:
                # Not for every partition: `dropped` also ends the drain deadline, and a stop may be draining now.
                self.dropped([partition])
            self._ledgers[partition] = Ledger(partition)

    def draining(self, partitions: Iterable[Partition], deadline: float) -> None:
        """A drain begins: their entries are due at once, and no call outlasts `deadline`, until the next `dropped`."""
        self._schedule.deadline = deadline
        self._leaving = [self._ledgers[partition] for partition in partitions if partition in self._ledgers]
        self._window.make_due(self._leaving)
        self._window.end_backoff(self._leaving)
        self._destination.gate.probe_soon(-math.inf)

    def drained(self, partitions: Iterable[Partition]) -> bool:
        """Whether every record read from these partitions is settled."""
        return all(self._ledgers[partition].idle for partition in partitions if partition in self._ledgers)

    def unsettled(self, partitions: Iterable[Partition]) -> int:
        """How many entries and dead letters hold offsets of these partitions."""
        return sum(self._ledgers[partition].unsettled for partition in partitions if partition in self._ledgers)

    def awaits_good_records(self, partitions: Iterable[Partition]) -> bool:
        """Whether nothing is unsettled in these partitions but dead letters that wait for credit.

        Only good records earn that credit. A drain reads no records, so it would wait for these letters in vain.
        """
        ledgers = [self._ledgers[partition] for partition in partitions if partition in self._ledgers]
        return all(ledger.unsettled == ledger.withheld for ledger in ledgers)

    def only_failing(self, partitions: Iterable[Partition], now: Now) -> bool:
        """Whether only users are left in these partitions that fail while others succeed, and none is due again."""
        ledgers = {self._ledgers[partition] for partition in partitions if partition in self._ledgers}
        return not self.missing_schemas and self._window.only_failing(ledgers, now.mono)

    def dropped(self, partitions: Iterable[Partition]) -> list[Call]:
        """The partitions are gone: from now on nothing from them is sent, settled or committed.

        Returns the calls in flight that carry changes of these partitions only. The caller aborts them.
        """
        self._schedule.deadline, self._leaving = math.inf, []
        gone = {self._ledgers.pop(partition) for partition in partitions if partition in self._ledgers}
        for ledger in gone:
            ledger.drop()
            self._intake.forget(ledger)
        self._sparing.forget(gone)
        orphans = set(self._window.forget(gone))
        self._outbox.forget_dropped()
        return self._schedule.carrying(orphans)

    def share(self, fraction: float, now: Now) -> None:
        """This worker's part of the token's rate, from 0 to 1."""
        self._destination.rate.share(fraction, now.mono)

    # -- records ---------------------------------------------------------------------------------------------------

    def receive(self, records: Sequence[Record], now: Now) -> None:
        """Takes in polled records. Ignores those of a partition that was dropped since the poll."""
        self._intake.receive(self._ledgers, records, now)

    def passed(self, offsets: Mapping[Partition, int]) -> None:
        """No record lies between the last received one and these offsets: a transaction's end, for one, is none."""
        for partition, offset in offsets.items():
            if (ledger := self._ledgers.get(partition)) is not None and not self._intake.waits(ledger):
                ledger.passed(offset)

    @property
    def missing_schemas(self) -> set[SchemaId]:
        """Schema ids that partitions wait for."""
        return self._intake.missing_schemas

    def schema(self, schema_id: SchemaId, schema: object | None, now: Now) -> None:
        """The registry's answer for a schema id; None where it has no such schema."""
        self._intake.schema(schema_id, schema, now)
        self._window.make_due(self._leaving)  # during a drain: the records that waited have just opened entries

    def paused(self) -> set[Partition]:
        """The partitions to pause: all while memory is short, else those that wait for a schema."""
        return set(self._ledgers) if self._memory.short else set(self._intake.stalled)

    def admit(self, entry: Entry) -> None:
        """Takes over an entry that a job has filled. It is due at once. Its user must have no other entry here."""
        self._window.admit(entry)

    def absorb(self, key: UserKey, change: Change, now: Now) -> None:
        """A newer change of a user whose entry a job has brought."""
        self._window.absorb(key, change, now.mono)

    def withdraw(self, key: UserKey) -> Entry | None:
        """As `Window.withdraw`."""
        return self._window.withdraw(key)

    # -- calls -----------------------------------------------------------------------------------------------------

    def calls(self, free: int, now: Now) -> list[Call]:
        """Starts the calls that may start now, at most `free`, and returns them: the caller sends them."""
        self._sparing.make_room()
        return self._schedule.calls(free, now, hurry=self._memory.short)

    def replied(self, call: Call, reply: Reply, now: Now) -> None:
        """Takes in what came back for a call.

        Raises:
            KeyError: the call is not in flight.
        """
        self._judge.replied(call, reply, now)

    def token_changed(self, now: Now) -> None:
        """The token is another one: a destination that halted the worker may be probed at once."""
        self._schedule.forget_probe()  # the old token's probe tells nothing of the new one
        self._destination.gate.probe_soon(now.mono)

    # -- dead letters ----------------------------------------------------------------------------------------------

    def letters(self, now: Now) -> list[Letter]:
        """The dead letters to write now."""
        return self._outbox.due(now.mono)

    def letter_written(self, letter: Letter, now: Now) -> None:
        """The dead-letter topic acknowledged the letter: settles the letter's owner (an entry or an offset)."""
        self.totals.dead_letters[letter.reason] += 1
        self._facts.tell(LetterWritten.of(letter))
        self._outbox.acknowledged(letter, now)

    def letter_failed(self, letter: Letter, error: str, now: Now) -> None:
        """The dead-letter topic did not take the letter. `letters` returns it again after a back-off."""
        self._facts.tell(LetterFailed(letter.reason, error))
        self._outbox.failed(letter, error, now.mono)

    @property
    def letters_waiting(self) -> int:
        """Dead letters without an acknowledgement. Those withheld for want of credit do not count."""
        return len(self._outbox) - self._outbox.storm.withheld

    @property
    def letters_spent(self) -> tuple[int, int]:
        """The spent dead-letter credit, of records and of calls. The loop commits it beside the offsets."""
        return self._outbox.storm.credit.spent, self._outbox.call_credit.spent

    def restore_letters_spent(self, spent: tuple[int, int]) -> None:
        """Takes over the credit that the previous owner of newly assigned partitions had spent.

        So a restart earns no credit. Even with no credit left, the gate stays open until a call is refused: the note of
        a quiet partition may be old, and a closed gate might have no entry to probe with.
        """
        self._outbox.storm.credit.restore(spent[0])
        self._outbox.call_credit.restore(spent[1])

    # -- what the loop decides by, and what it reports -------------------------------------------------------------

    def committable(self) -> dict[Partition, int]:
        """For each partition with records read, the offset before which everything is settled."""
        offsets = ((partition, ledger.committable) for partition, ledger in self._ledgers.items())
        return {partition: offset for partition, offset in offsets if offset is not None}

    def progress(self) -> dict[Partition, PartitionProgress]:
        """How far each partition has come."""
        return {partition: self._intake.progress(ledger) for partition, ledger in self._ledgers.items()}

    def next_wakeup(self, now: Now) -> float:
        """When the engine has something to do even if nothing arrives, in monotonic seconds."""
        return min(self._schedule.next_call(now), self._outbox.next_due())

    def may_rest_until(self, now: Now, late_seconds: float) -> float:
        """As `Schedule.may_rest_until`."""
        return self._schedule.may_rest_until(now, late_seconds)

    @property
    def held_bytes(self) -> int:
        """The memory taken by changes and dead letters that are not settled, and by remembered values."""
        return self._memory.held_bytes

    @property
    def open_entries(self) -> int:
        """Entries that are not settled."""
        return len(self._window)

    @property
    def in_flight(self) -> int:
        """Calls without a reply yet."""
        return self._schedule.in_flight

    @property
    def halt(self) -> Halt | None:
        """Why only probes are sent, or why dead letters are withheld. None if neither."""
        gate, storm = self._destination.gate, self._outbox.storm
        if gate.halt is not None or storm.since_ms is None:
            return gate.halt
        detail = storm.told
        if self._memory.short:
            detail += "; they fill the memory, so no more records are read: mend their producer, or raise the bound"
        return Halt(HaltReason.REJECTION_STORM, storm.since_ms, detail)

    def facts(self) -> list[Fact]:
        """The facts since the last call, oldest first."""
        return self._facts.take()

    def status(self, now: Now) -> EngineStatus:
        """A snapshot for status, metrics and logs."""
        gate, rate = self._destination.gate, self._destination.rate
        pause_seconds = gate.pause_seconds(now.mono)
        return EngineStatus(
            halt=self.halt,
            probe_at=gate.next_probe,
            latest_error=self._judge.latest_error,
            letters_problem=self._outbox.problem,
            letters_withheld=self._outbox.storm.withheld,
            rate_limit=rate.limit,
            rate_share=rate.share_per_second,
            rate_allowed=rate.per_second,
            rate_now=0.0 if gate.closed or pause_seconds else rate.per_second,
            throttled=rate.slowed or pause_seconds > 0.0,
            pause_seconds=pause_seconds,
            memory_short=self._memory.short,
            held_bytes=self.held_bytes,
            held_bytes_max=self._memory.max_bytes,
            remembered_users=len(self._sparing),
            remembered_bytes=self._sparing.size_bytes,
            open_entries=self.open_entries,
            in_flight=self.in_flight,
            progress=self.progress(),
            stuck=self._watchdog.look(self._ledgers.values(), now.mono),
            totals=self.totals.snapshot(),
        )
