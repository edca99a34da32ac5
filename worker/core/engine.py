"""The engine: what to send, what a reply means for what was sent, and what may be committed.

It has no clock, no I/O and no threads: `now` comes in, actions come out, and one thread owns it. The shell around it
polls Kafka and performs the actions; a simulation can do the same in virtual time.

Life of an entry: `receive` opens it -> `calls` folds and sends it -> `replied` judges the reply -> it is settled, tried
again, searched for what is refused, or handed to the outbox -> `committable` may pass its offsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from worker.core.delivery.gate import Halt, HaltReason
from worker.core.delivery.judge import Dispatch
from worker.core.delivery.verdict import Verdict
from worker.core.events.decode import Decoder
from worker.core.facts import Delivery, News, Notice
from worker.core.intake import Intake
from worker.core.letters.outbox import Held, Outbox
from worker.core.letters.storm import Credit, Storm
from worker.core.model import Call, Letter, Now, Partition, Record, Reply
from worker.core.options import Options
from worker.core.rules.preflight import Preflight
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.window import Window

RESUME_BELOW = 0.8  # of the memory budget: paused partitions are resumed below it


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far a partition has come; offsets are those of the next record."""

    position: int | None
    committable: int | None
    oldest_undelivered_ms: int | None


class Engine:
    """One worker's state between its records and its calls."""

    def __init__(
        self,
        options: Options,
        *,
        decoder: Decoder,
        preflight: Preflight,
        backoff: Callable[[int], float],
        now: Now,
    ) -> None:
        """`backoff` gives the pause in seconds after the n-th failure (n from 1), jitter included."""
        self.totals = Totals()
        self._max_bytes = options.max_bytes
        self._window = Window(options.window_seconds)
        records, calls = (Credit(options.storm_letters_max, options.storm_share_max) for _ in range(2))
        self._outbox = Outbox(backoff, records=Storm(records), calls=calls)
        self._news = News()
        self._dispatch = Dispatch(
            options,
            window=self._window,
            outbox=self._outbox,
            totals=self.totals,
            news=self._news,
            backoff=backoff,
            now=now,
        )
        self._intake = Intake(decoder, preflight, window=self._window, outbox=self._outbox, totals=self.totals)
        self._ledgers: dict[Partition, Ledger] = {}
        self._leaving: list[Ledger] = []  # of the partitions that a drain is for
        self._short_of_memory = False
        self._told_of_shared_users = False

    # -- assignment ------------------------------------------------------------------------------------------------

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """The partitions are this worker's, each with a ledger of its own from now on."""
        for partition in partitions:
            if partition in self._ledgers:
                self.dropped([partition])  # only then: it ends a drain's deadline, and a stop may be under way
            self._ledgers[partition] = Ledger(partition)

    def draining(self, partitions: Iterable[Partition], deadline: float) -> None:
        """The partitions are to go away: their entries are due at once, and no call outlasts `deadline`."""
        self._dispatch.deadline = deadline
        self._leaving = [self._ledgers[partition] for partition in partitions if partition in self._ledgers]
        self._window.make_due(self._leaving)

    def drained(self, partitions: Iterable[Partition]) -> bool:
        """Whether everything that was read of these partitions is settled."""
        return all(self._ledgers[partition].idle for partition in partitions if partition in self._ledgers)

    def dropped(self, partitions: Iterable[Partition]) -> list[Call]:
        """The partitions are gone: nothing of them is sent, settled or committed any more.

        Returns the calls under way that carry nothing else: they are to be aborted.
        """
        self._dispatch.deadline, self._leaving = math.inf, []
        orphans: set[Entry] = set()
        for partition in partitions:
            ledger = self._ledgers.pop(partition, None)
            if ledger is None:
                continue
            ledger.drop()
            self._intake.forget(ledger)
            orphans.update(self._window.forget(ledger))
        self._outbox.forget_dropped()
        return self._dispatch.carrying(orphans)

    def share(self, fraction: float, now: Now) -> None:
        """This worker's part of the token's rate, from 0 to 1."""
        self._dispatch.rate.share(fraction, now.mono)

    # -- records ---------------------------------------------------------------------------------------------------

    def receive(self, records: Sequence[Record], now: Now) -> None:
        """Takes in records as they were polled; those of a partition that went away meanwhile are passed over."""
        ledgers = self._ledgers
        for record in records:
            ledger = ledgers.get(record.partition)
            if ledger is not None:
                self._intake.take(ledger, record, now)

    @property
    def missing_schemas(self) -> set[int]:
        """Schema ids that partitions wait for."""
        return self._intake.missing_schemas

    def schema(self, schema_id: int, schema: object | None, now: Now) -> None:
        """The registry's answer for a schema id; None where it has no such schema."""
        self._intake.schema(schema_id, schema, now)
        self._window.make_due(self._leaving)  # what waited for it is of partitions that are about to go

    def paused(self) -> set[Partition]:
        """The partitions of which no more records should come for now."""
        held = self.held_bytes
        limit = self._max_bytes
        self._short_of_memory = held > (limit * RESUME_BELOW if self._short_of_memory else limit)
        return set(self._ledgers) if self._short_of_memory else set(self._intake.stalled)

    # -- calls -----------------------------------------------------------------------------------------------------

    def calls(self, free: int, now: Now) -> list[Call]:
        """The calls to be made now, at most `free` of them."""
        return self._dispatch.calls(free, now, hurry=self._short_of_memory)

    def replied(self, call: Call, reply: Reply, now: Now) -> Verdict:
        """Takes in what came back for a call. Returns what it means."""
        return self._dispatch.replied(call, reply, now)

    def token_changed(self, now: Now) -> None:
        """The token is another one: a halted destination may be asked again at once."""
        self._dispatch.gate.probe_soon(now.mono)

    # -- dead letters ----------------------------------------------------------------------------------------------

    def letters(self, now: Now) -> list[Letter]:
        """The dead letters to be written now."""
        return self._outbox.due(now.mono)

    def letter_written(self, letter: Letter, now: Now) -> None:
        """The dead-letter topic has acknowledged the letter: what it stands for is settled."""
        owner = self._outbox.acknowledged(letter)
        self.totals.dead_letters[letter.reason] += 1
        if isinstance(owner, Held):
            owner.ledger.settle(owner.offset)
            return
        owner.letters -= 1
        self._dispatch.settle_if_done(owner, now)

    def letter_failed(self, letter: Letter, error: str, now: Now) -> None:
        """The dead-letter topic did not take the letter; it comes again from `letters`, later."""
        self._outbox.failed(letter, error, now.mono)

    @property
    def letters_problem(self) -> str | None:
        """Why letters cannot be written at present, or None."""
        return self._outbox.problem

    @property
    def letters_waiting(self) -> int:
        """Dead letters that are not acknowledged yet, without those that a flood holds back."""
        return len(self._outbox) - self._outbox.records.withheld

    # -- what others may know --------------------------------------------------------------------------------------

    def committable(self) -> dict[Partition, int]:
        """For each partition that was read, the offset up to which everything is settled."""
        return {
            partition: offset
            for partition, ledger in self._ledgers.items()
            if (offset := ledger.committable) is not None
        }

    def progress(self) -> dict[Partition, PartitionProgress]:
        """How far each partition has come."""
        return {
            partition: PartitionProgress(ledger.position, ledger.committable, ledger.oldest_timestamp_ms)
            for partition, ledger in self._ledgers.items()
        }

    def next_wakeup(self, now: Now) -> float:
        """The earliest instant at which time alone gives the engine something to do, in monotonic seconds."""
        return min(self._dispatch.next_call(now), self._outbox.next_due())

    @property
    def held_bytes(self) -> int:
        """What lies in memory between Kafka and the destination."""
        return self._window.held_bytes + self._intake.held_bytes + self._outbox.held_bytes

    @property
    def open_entries(self) -> int:
        """Entries that are not settled."""
        return len(self._window)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._dispatch.in_flight

    def news(self) -> tuple[list[Notice], list[Delivery]]:
        """What people and metrics should hear of, since the last look."""
        if self.totals.shared_users and not self._told_of_shared_users:
            self._told_of_shared_users = True
            self._news.tell("user_in_several_partitions")
        return self._news.take()

    @property
    def halt(self) -> Halt | None:
        """Why nothing but single probes is sent, or why nothing is dead-lettered; None where all goes on."""
        records = self._outbox.records
        if self._dispatch.gate.halt is not None or records.since_ms is None:
            return self._dispatch.gate.halt
        detail = f"{records.withheld} dead letters of records that cannot be used are held back"
        if self._short_of_memory:
            detail += "; they fill the memory, and no more is read: mend what makes them so, or raise the bound"
        return Halt(HaltReason.REJECTION_STORM, records.since_ms, detail)

    @property
    def letters_spent(self) -> tuple[int, int]:
        """Dead letters that no success has made up for, of records and of calls; committed with the offsets."""
        return self._outbox.records.credit.spent, self._outbox.calls.spent

    def restore_letters_spent(self, spent: tuple[int, int]) -> None:
        """What the previous owner of partitions that came had spent: a restart is no success.

        Where that is all of the credit the gate stays open until a call is refused: the note of a partition that rests
        may be from long ago, and there may be nothing to probe with.
        """
        self._outbox.records.credit.restore(spent[0])
        self._outbox.calls.restore(spent[1])

    def throttled(self, now: Now) -> bool:
        """Whether the destination holds the worker below its share of the rate."""
        return self._dispatch.rate.slowed or self._dispatch.gate.paused(now.mono)

    @property
    def rate_limit(self) -> float:
        """The token's limit in calls a second."""
        return self._dispatch.rate.limit

    @property
    def rate_share(self) -> float:
        """This worker's part of that limit, in calls a second."""
        return self._dispatch.rate.share_per_second

    @property
    def rate_allowed(self) -> float:
        """The calls a second that this worker now allows itself."""
        return self._dispatch.rate.per_second
