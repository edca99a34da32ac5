"""From records to open entries and dead letters.

Two halves: `events.reading.read_on` decodes a record, and nearly always goes on to preflight; then `Intake` runs
preflight where that is left, and an entry absorbs the change. If a record's schema is not known yet, its partition
stalls: that record and all behind it wait here, in order, until the registry answers. The other partitions go on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.core.delivery.gate import HaltReason
from worker.core.events.decode import Decoder
from worker.core.events.reading import NeedsSchema, PassedOver, Unreadable, read_on
from worker.core.facts import Facts, Halted, Resumed, SharedUser
from worker.core.letters.letter import letter_of_record, letter_of_refusal
from worker.core.letters.outbox import OffsetOwner, Outbox
from worker.core.model import Event, Letter, Now, Partition, Record, Scalar, SchemaId, User, UserKey
from worker.core.rules.preflight import Preflight
from worker.core.totals import Totals
from worker.core.waiting.change import Change, Shapes
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.sparing import Sparing
from worker.core.waiting.window import Window

_ABSENT_SECONDS = 60.0  # then an id that did not exist is asked for again
RECORD_BYTES = 400  # what a stalled record takes beyond its key and value, in bytes


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far a partition has come. Offsets are those of the next record; None before the first record.

    `oldest_undelivered_ms` is the timestamp of the oldest record that is not settled, in milliseconds since the epoch.
    """

    position: int | None
    committable: int | None
    oldest_undelivered_ms: int | None


class Intake:
    """Takes records in. Before it reads the next record, the ledger holds whatever this one leaves to settle."""

    def __init__(
        self,
        decoder: Decoder,
        preflight: Preflight,
        *,
        window: Window,
        sparing: Sparing,
        outbox: Outbox,
        memory: Memory,
        totals: Totals,
        facts: Facts,
    ) -> None:
        decoder.go_on_to(preflight)
        preflight.expect(window.absorbing)
        self._decoder = decoder
        self._preflight = preflight
        self._window = window
        self._sparing = sparing
        self._outbox = outbox
        self._memory = memory
        self._totals = totals
        self._facts = facts
        self._shapes = Shapes()
        self._stalled: dict[Ledger, deque[Record]] = {}
        self._missing: dict[Ledger, SchemaId] = {}
        self._ahead: dict[Ledger, set[SchemaId]] = {}
        self._forget_absent_at = math.inf
        self._storm_ms = 0  # when the latest storm of unusable records began

    def receive(self, ledgers: Mapping[Partition, Ledger], records: Sequence[Record], now: Now) -> None:
        """Takes in the next records of these partitions, ignores others, and queues those that wait for a schema."""
        if now.mono >= self._forget_absent_at:
            self._forget_absent_at = math.inf
            self._decoder.forget_absent()
        stalled, partition, ledger = self._stalled, None, None
        for record in records:
            if record.partition is not partition:  # many in a row are of one partition, and have the same object for it
                partition = record.partition
                ledger = ledgers.get(partition)
            if ledger is None:
                continue
            if record.offset < ledger.last_offset:
                ledger.went_back = True
            ledger.last_offset = record.offset
            if ledger in stalled:
                # Ask now, not when its turn comes: each unknown id may take half a minute to be believed.
                if isinstance(content := read_on(record, self._decoder), NeedsSchema):
                    self._ahead.setdefault(ledger, set()).add(content.schema_id)
                self._queue(ledger, record)
            elif not self._admit(ledger, record, now):
                self._queue(ledger, record)

    def _queue(self, ledger: Ledger, record: Record) -> None:
        self._stalled.setdefault(ledger, deque()).append(record)
        self._memory.add(RECORD_BYTES + record.size_bytes)

    def schema(self, schema_id: SchemaId, schema: object | None, now: Now) -> None:
        """The registry has answered (None: it has no such schema): resumes the partitions that wait for it."""
        self._decoder.add(schema_id, schema)
        if schema is None:
            self._forget_absent_at = min(self._forget_absent_at, now.mono + _ABSENT_SECONDS)
        for ahead in self._ahead.values():
            ahead.discard(schema_id)
        for ledger in [ledger for ledger, missing in self._missing.items() if missing == schema_id]:
            self._resume(ledger, now)

    def forget(self, ledger: Ledger) -> None:
        """The partition was dropped: drops its stalled records."""
        for record in self._stalled.pop(ledger, ()):
            self._memory.add(-RECORD_BYTES - record.size_bytes)
        self._missing.pop(ledger, None)
        self._ahead.pop(ledger, None)

    def waits(self, ledger: Ledger) -> bool:
        """Whether the partition's records wait here for a schema."""
        return ledger in self._stalled

    @property
    def missing_schemas(self) -> set[SchemaId]:
        """The schema ids that partitions wait for, now or further behind."""
        return set(self._missing.values()).union(*self._ahead.values())

    @property
    def stalled(self) -> Iterable[Partition]:
        """The partitions that wait for a schema."""
        return [ledger.partition for ledger in self._stalled]

    def first_stalled(self, ledger: Ledger) -> Record | None:
        """The record at which the partition waits for a schema. None if it does not."""
        waiting = self._stalled.get(ledger)
        return waiting[0] if waiting else None

    def progress(self, ledger: Ledger) -> PartitionProgress:
        """How far a partition has come."""
        stalled = self.first_stalled(ledger)
        position, oldest_ms = ledger.position, ledger.oldest_timestamp_ms
        if stalled is not None and ledger.idle:
            oldest_ms = stalled.timestamp_ms
        if stalled is not None and position is None:
            position = stalled.offset
        return PartitionProgress(position, ledger.committable, oldest_ms)

    def missing_schema(self, ledger: Ledger) -> SchemaId | None:
        """The schema id that the partition waits for, if any."""
        return self._missing.get(ledger)

    def _resume(self, ledger: Ledger, now: Now) -> None:
        del self._missing[ledger]
        waiting = self._stalled[ledger]
        while waiting:
            if not self._admit(ledger, waiting[0], now):
                return
            record = waiting.popleft()
            self._memory.add(-RECORD_BYTES - record.size_bytes)
        del self._stalled[ledger]
        self._ahead.pop(ledger, None)

    def _admit(self, ledger: Ledger, record: Record, now: Now) -> bool:
        """Reads one record and takes it in: as a change of an entry, as dead letters, or both. False: no schema yet."""
        content = read_on(record, self._decoder)
        if isinstance(content, tuple):
            key, values, occurred_at_ms, event_id, passed_over = content
            self._totals.passed_over += passed_over
            self._absorb(ledger, record, now, key, values, occurred_at_ms, event_id)
        elif isinstance(content, Event):
            self._take_event(ledger, record, content, now)
        elif isinstance(content, Unreadable):
            self._sparing.unreadable(ledger, record.offset)
            self._add_letter(letter_of_record(record, content.detail, now), ledger, record, now)
        elif isinstance(content, PassedOver):
            self._totals.tombstones += content.tombstone
            self._totals.ignored += 1
        else:
            self._missing[ledger] = content.schema_id
            return False
        self._totals.records += 1
        ledger.read(record.offset)
        return True

    def _take_event(self, ledger: Ledger, record: Record, event: Event, now: Now) -> None:
        checked, totals = self._preflight.check(event), self._totals
        key, accepted = checked.key, checked.accepted
        if checked.passed_over or event.kept_back:
            totals.passed_over += checked.passed_over + len(event.kept_back)
        totals.dropped_identifiers += checked.dropped_identifiers
        for refusal in checked.refusals:
            self._add_letter(letter_of_refusal(record, event, refusal, now), ledger, record, now)
            self._outdate(key, refusal.attributes)
        if key is None or not accepted:
            if not checked.refusals:
                totals.ignored += 1
                totals.empty += 1
            return
        self._absorb(ledger, record, now, key, accepted, event.occurred_at_ms, event.event_id, checked.sent)

    def _absorb(  # one argument for each of its parts: it is done for nearly every record
        self,
        ledger: Ledger,
        record: Record,
        now: Now,
        key: UserKey,
        accepted: Mapping[str, Scalar],
        occurred_at_ms: int | None,
        event_id: str | None,
        sent: User | None = None,
    ) -> None:
        """The user's entry takes in what may be sent of the record."""
        totals = self._totals
        totals.changes += 1
        if self._outbox.earn_and_release():
            self._facts.tell(Resumed(HaltReason.REJECTION_STORM, (now.wall_ms - self._storm_ms) / 1000))
        sparing, values = self._sparing, accepted
        if sparing.users:
            values = sparing.changed(key, sent, accepted, ledger, now.mono)
            totals.spared_values += len(accepted) - len(values)
        if not values:
            totals.spared_changes += 1
            totals.calls_saved += 1
            return
        names = self._shapes[tuple(values)]
        change = Change.of_record(
            ledger, record, key, names, values, occurred_at_ms=occurred_at_ms, event_id=event_id, sent=sent
        )
        if self._window.absorb(key, change, now.mono):
            if not totals.shared_users:
                self._facts.tell(SharedUser())
            totals.shared_users += 1

    def _outdate(self, key: UserKey | None, names: Collection[str]) -> None:
        """What became a dead letter is later than what waits of these attributes, and than what was delivered."""
        if key is not None:
            self._sparing.forget_values(key, names)
            self._window.overtake(key, names)

    def _add_letter(self, letter: Letter, ledger: Ledger, record: Record, now: Now) -> None:
        ledger.hold(record.offset, record.timestamp_ms)
        self._outbox.add_of_record(letter, OffsetOwner(ledger, record.offset), now.wall_ms)
        began_ms = self._outbox.storm.since_ms
        if began_ms is not None and began_ms != self._storm_ms:
            self._storm_ms = began_ms
            self._facts.tell(Halted(HaltReason.REJECTION_STORM, "dead letters of unusable records are withheld"))
