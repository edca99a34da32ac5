"""From records to open entries and dead letters: decode, preflight, absorb.

A record whose schema is not known yet stalls its partition: it and those behind it wait here, in order, until the
registry has answered. The other partitions go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from worker.core.events.decode import Decoder, SchemaMissing, Undecodable
from worker.core.letters.letter import letter_of_record, letter_of_refusal, source_of, trace_context
from worker.core.letters.outbox import Held, Outbox
from worker.core.model import Event, Letter, Now, Partition, Record
from worker.core.rules.preflight import Preflight
from worker.core.totals import Totals
from worker.core.waiting.entry import Change
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.window import Window

RECORD_BYTES = 400  # what a waiting record takes beyond its key and value, in bytes


class Intake:
    """Takes records of live partitions in; what becomes of each is held in its ledger before the next is read."""

    def __init__(
        self, decoder: Decoder, preflight: Preflight, *, window: Window, outbox: Outbox, totals: Totals
    ) -> None:
        self._decoder = decoder
        self._preflight = preflight
        self._window = window
        self._outbox = outbox
        self._totals = totals
        self._stalled: dict[Ledger, deque[Record]] = {}
        self._missing: dict[Ledger, int] = {}
        self.held_bytes = 0

    def take(self, ledger: Ledger, record: Record, now: Now) -> None:
        """Takes in the next record of a partition."""
        waiting = self._stalled.get(ledger)
        if waiting is None and self._admit(ledger, record, now):
            return
        self._stalled.setdefault(ledger, deque()).append(record)
        self.held_bytes += RECORD_BYTES + record.size_bytes

    def schema(self, schema_id: int, schema: object | None, now: Now) -> None:
        """The registry has answered (None: it has no such schema): the partitions that wait for it go on."""
        self._decoder.add(schema_id, schema)
        for ledger in [ledger for ledger, missing in self._missing.items() if missing == schema_id]:
            self._resume(ledger, now)

    def forget(self, ledger: Ledger) -> None:
        """The partition went away, and with it what waits of it."""
        for record in self._stalled.pop(ledger, ()):
            self.held_bytes -= RECORD_BYTES + record.size_bytes
        self._missing.pop(ledger, None)

    @property
    def missing_schemas(self) -> set[int]:
        """The schema ids that partitions wait for."""
        return set(self._missing.values())

    @property
    def stalled(self) -> Iterable[Partition]:
        """The partitions that wait for a schema."""
        return [ledger.partition for ledger in self._stalled]

    def _resume(self, ledger: Ledger, now: Now) -> None:
        del self._missing[ledger]
        waiting = self._stalled[ledger]
        while waiting:
            if not self._admit(ledger, waiting[0], now):
                return
            record = waiting.popleft()
            self.held_bytes -= RECORD_BYTES + record.size_bytes
        del self._stalled[ledger]

    def _admit(self, ledger: Ledger, record: Record, now: Now) -> bool:
        """Takes one record in; False where its schema must be had first."""
        try:
            self._decode(ledger, record, now)
        except SchemaMissing as missing:
            self._missing[ledger] = missing.schema_id
            return False
        self._totals.records += 1
        ledger.read(record.offset)
        return True

    def _decode(self, ledger: Ledger, record: Record, now: Now) -> None:
        if record.value is None:
            self._totals.tombstones += 1
            self._totals.ignored += 1
            return
        try:
            event = self._decoder.decode(record)
        except Undecodable as problem:
            self._post(letter_of_record(record, str(problem), now), ledger, record, now)
            return
        if event is None:
            self._totals.ignored += 1
        else:
            self._admit_event(ledger, record, event, now)

    def _admit_event(self, ledger: Ledger, record: Record, event: Event, now: Now) -> None:
        checked = self._preflight.check(event)
        self._totals.passed_over += checked.passed_over
        for refusal in checked.refusals:
            self._post(letter_of_refusal(record, event, refusal, now), ledger, record, now)
        if checked.key is None or not checked.accepted:
            self._totals.ignored += not checked.refusals
            return
        change = Change(
            ledger,
            source_of(record, event.event_id),
            occurred_at_ms=event.occurred_at_ms,
            record_key=record.key,
            headers=trace_context(record.headers),
        )
        self._totals.changes += 1
        self._outbox.earn_and_release()
        shared = self._window.absorb(checked.key, checked.user, change, checked.accepted, now.mono)
        self._totals.shared_users += shared

    def _post(self, letter: Letter, ledger: Ledger, record: Record, now: Now) -> None:
        ledger.hold(record.offset, record.timestamp_ms)
        self._outbox.add(letter, Held(ledger, record.offset), now.wall_ms)
