"""The shell around the engine: it polls, performs what the engine decides, and says how things stand.

One thread owns all of this. Senders, the dead-letter producer, the schema registry and the health server have threads
of their own, and are met here through queues and snapshots only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.core.delivery.gate import HaltReason
from worker.core.engine import Engine
from worker.core.letters.storm import note_of, spent_of
from worker.core.model import Now, Partition
from worker.kafka.member import Subscription
from worker.kafka.producer import DeadLetters
from worker.live.lease import Lease
from worker.live.report import OUTCOMES, Membership, Reporter
from worker.live.share import Share
from worker.ops.board import Board
from worker.ops.telemetry import Telemetry
from worker.registry.directory import SchemaSource

POLL_SECONDS = 0.1  # the longest wait for records while nothing else is to be done
BUSY_POLL_SECONDS = 0.01  # while replies or delivery reports are expected
NOTES_RETRY_SECONDS = 2.0  # while the brokers did not tell what lies beside the committed offsets
TOKEN_SECONDS = 1.0  # how often a halted worker looks whether its token is another one

_LASTING_HALTS = frozenset({HaltReason.UNAUTHORIZED, HaltReason.WRONG_URL})


def clock() -> Now:
    """The present, by both clocks."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the shell drives. `schemas` is None where all records have the one schema that the settings name."""

    engine: Engine
    senders: Senders
    token: Token
    letters: DeadLetters
    schemas: SchemaSource | None
    lease: Lease
    board: Board
    telemetry: Telemetry
    reporter: Reporter
    log: FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and for how long; in seconds."""

    commit_seconds: float
    drain_seconds: float


class Shell:
    """Turns the loop: records in, calls out, offsets committed."""

    def __init__(self, parts: Parts, pace: Pace, share: Share) -> None:
        self._parts = parts
        self._engine = parts.engine
        self._log = parts.log
        self._pace = pace
        self._share = share
        self._source: Subscription | None = None
        self._held: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._unread: set[Partition] = set()  # partitions that came, and whose notes were not read yet
        self._notes_at = 0.0
        self._commit_at = 0.0
        self._token_at = 0.0
        self._fenced = False
        self._spent: tuple[int, int] | None = self._engine.letters_spent  # as committed last
        self._refused = 0
        self._stop_by: float | None = None  # the deadline of the drain that ends this worker
        self.left_over: int | None = None  # entries and letters that the final drain did not finish; None: all

    def subscribed(self, source: Subscription) -> None:
        """The source whose callbacks are this shell's."""
        self._source = source

    def turn(self) -> None:
        """One turn of the loop: it waits for replies while there are calls under way, else for records."""
        patience = self._patience_seconds()
        in_flight = self._engine.in_flight
        records = self.source.poll(0.0 if in_flight else patience)
        self._restore()
        if records:
            self._engine.receive(records, clock())
        self._perform(wait_seconds=patience if in_flight and not records else 0.0)
        now = clock()
        self._match_pauses()
        if now.mono >= self._commit_at:
            self._commit_at = now.mono + self._pace.commit_seconds
            self._commit(wait=False)
        if now.mono >= self._share.ask_at:
            self._take_share(ask=True)
        if self._fenced:
            self._fenced = False
            self.source.rejoin()

    def stop(self) -> None:
        """Drains what is open within the deadline, commits, and leaves the group.

        Drained first and left then: `close` gives up the membership before it tells of the revoke where the brokers
        drive the group (KIP-848), and another worker would send for the same users meanwhile.
        """
        started = time.monotonic()
        self._stop_by = started + self._pace.drain_seconds
        self.source.pause(self._held)
        self._engine.draining(self._held, self._stop_by)
        complete = self._drain(self._held, self._stop_by, polling=True)
        self.left_over = None if complete else self._engine.open_entries + self._engine.letters_waiting
        self._notes_at = 0.0
        self._restore()
        self._commit(wait=True)
        self._parts.telemetry.drain_finished(time.monotonic() - started, complete=complete)
        self._drop(list(self._held))
        self.source.close()
        self._report(clock())

    @property
    def source(self) -> Subscription:
        """The subscription; an error before there is one."""
        if self._source is None:
            raise RuntimeError("the shell is not subscribed yet")
        return self._source

    # -- rebalance: these run inside `source.poll` and `source.close` ----------------------------------------------

    def on_assigned(self, partitions: list[Partition]) -> None:
        """Partitions came: each begins a new ledger."""
        self._parts.telemetry.rebalanced("assigned")
        self._held.update(partitions)
        self._paused.difference_update(partitions)
        self._engine.assigned(partitions)
        self._unread.update(partitions)
        if self._stop_by is not None:
            self.source.pause(partitions)
        self._take_share(ask=True)
        self._log.info("assigned", gained=len(partitions), held=len(self._held))

    def on_revoked(self, partitions: list[Partition]) -> None:
        """Partitions are about to go, and wait for this: flush, drain within the deadline, commit, drop."""
        partitions = [partition for partition in partitions if partition in self._held]
        if not partitions:
            return  # a stop or a fence has dropped them already
        self._parts.telemetry.rebalanced("revoked")
        started = time.monotonic()
        deadline = min(started + self._pace.drain_seconds, self._stop_by or math.inf)
        self._engine.draining(partitions, deadline)
        complete = self._drain(set(partitions), deadline)
        self._commit(wait=True, only=set(partitions))
        self._drop(partitions)
        if self._stop_by is not None:
            self._engine.draining(self._held, self._stop_by)
        seconds = time.monotonic() - started
        self._parts.telemetry.drain_finished(seconds, complete=complete)
        self._log.info(
            "revoked", lost=len(partitions), held=len(self._held), drained=complete, seconds=round(seconds, 2)
        )

    def on_lost(self, partitions: list[Partition]) -> None:
        """Partitions are another's already: drop, commit nothing."""
        self._parts.telemetry.rebalanced("lost")
        self._drop(partitions)
        self._log.warning("partitions lost", lost=len(partitions), held=len(self._held))

    def _drain(self, partitions: Collection[Partition], deadline: float, *, polling: bool = False) -> bool:
        """Sends and settles until nothing of these is open; with `polling` the membership is kept alive meanwhile.

        Records that a poll brings all the same are not taken in: nothing commits them, so the next owner reads them.
        """
        open_before = self._engine.open_entries
        while not self._engine.drained(partitions):
            if polling:
                self.source.poll(0.0)
            if time.monotonic() >= deadline or self._hopeless():
                left, letters = self._engine.open_entries, self._engine.letters_waiting
                self._log.warning("drain cut", open_before=open_before, left=left, letters=letters)
                return False
            self._perform(wait_seconds=BUSY_POLL_SECONDS)
        return True

    def _hopeless(self) -> bool:
        """Whether waiting on would deliver nothing: people must mend the halt, and nothing is under way."""
        halt, busy = self._engine.halt, self._engine.in_flight or self._engine.letters_waiting
        return halt is not None and halt.reason in _LASTING_HALTS and not busy

    def _drop(self, partitions: list[Partition]) -> None:
        self._parts.senders.abort(self._engine.dropped(partitions))
        self._held.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._unread.difference_update(partitions)
        self._take_share(ask=False)

    def _restore(self) -> None:
        """A flood of dead letters that a restart or a rebalance interrupted goes on where it stood.

        Not asked in the callback: librdkafka would wait for itself there. Records of the partitions are taken in after.
        """
        if not self._unread or time.monotonic() < self._notes_at:
            return
        notes = self.source.notes(self._unread)
        if notes is None:
            self._notes_at = time.monotonic() + NOTES_RETRY_SECONDS
            return
        for note in notes:
            if (spent := spent_of(note)) is not None:
                self._engine.restore_letters_spent(spent)
        self._unread.clear()

    # -- what the engine decides -----------------------------------------------------------------------------------

    def _perform(self, wait_seconds: float = 0.0) -> None:
        self._parts.board.turn()
        silent_seconds = self._parts.lease.renew()
        unheard_seconds = self.source.silent_seconds if self._held else 0.0
        if silent_seconds:
            self._fence("woke up late", silent_seconds)
        elif not self._parts.lease.heard(unheard_seconds):
            self._fence("cut off from the group", unheard_seconds)
        self._exchange_schemas()
        self._exchange_calls(wait_seconds)
        self._exchange_letters()
        self._report(clock())

    def _fence(self, what: str, silent_seconds: float) -> None:
        """The lease ran out: what this process held may be another's, who may have sent newer values since.

        Everything goes, as if the partitions were lost, and the membership is begun anew by the next turn.
        """
        self._log.warning(what, silent_seconds=round(silent_seconds, 1), dropped=len(self._held))
        self._drop(list(self._held))
        self._fenced = True
        self._parts.lease.begin()

    def _exchange_calls(self, wait_seconds: float) -> None:
        engine, senders, telemetry = self._engine, self._parts.senders, self._parts.telemetry
        for call, reply in senders.replies(wait_seconds):
            verdict = engine.replied(call, reply, clock())
            telemetry.call_finished(reply.seconds, OUTCOMES[verdict])
        now = clock()
        if engine.halt is not None and now.mono >= self._token_at:
            self._token_at = now.mono + TOKEN_SECONDS
            if self._parts.token.reload():
                engine.token_changed(now)
        for call in engine.calls(senders.free, now):
            senders.submit(call)

    def _exchange_letters(self) -> None:
        engine, letters = self._engine, self._parts.letters
        for letter, error in letters.results():
            if error is None:
                engine.letter_written(letter, clock())
            else:
                self._parts.telemetry.dead_letter_failed()
                engine.letter_failed(letter, error, clock())
        if not engine.letters_waiting or not self._can_frame_letters():
            return
        for letter in engine.letters(clock()):
            letters.publish(letter)

    def _can_frame_letters(self) -> bool:
        """Whether the id of the dead letter's own schema is known; until then letters wait in the outbox."""
        return self._parts.schemas is None or self._parts.schemas.dead_letter_schema_id() is not None

    def _exchange_schemas(self) -> None:
        schemas = self._parts.schemas
        if schemas is None:
            return
        for schema_id, schema in schemas.answers():
            self._engine.schema(schema_id, schema, clock())
        for schema_id in self._engine.missing_schemas:
            schemas.request(schema_id)

    def _match_pauses(self) -> None:
        wanted = self._engine.paused()
        if wanted == self._paused:
            return
        self.source.pause(wanted - self._paused)
        self.source.resume(self._paused - wanted)
        self._log.debug("pause", paused=len(wanted), held=len(self._held), held_bytes=self._engine.held_bytes)
        self._paused = wanted

    def _commit(self, *, wait: bool, only: set[Partition] | None = None) -> None:
        committed, spent = self.source.committed(), self._engine.letters_spent
        if self.source.commits_refused != self._refused:  # the note may have gone with it, though no offset did
            self._refused, self._spent = self.source.commits_refused, None
        offsets = {
            partition: offset
            for partition, offset in self._engine.committable().items()
            if (committed.get(partition) != offset or spent != self._spent)
            and (partition not in self._unread if only is None else partition in only)
        }
        if not offsets:
            return
        self._spent = spent if only is None else None  # the others still carry the note from before
        started = time.monotonic()
        self.source.commit(offsets, note=note_of(spent), wait=wait)
        if wait:
            done = self.source.committed()
            ok = all(done.get(partition) == offset for partition, offset in offsets.items())
            self._parts.telemetry.commit_finished(time.monotonic() - started, ok=ok)

    def _patience_seconds(self) -> float:
        """How long this turn may wait: until time alone gives the engine something to do, and never long."""
        engine = self._engine
        busy = engine.in_flight or engine.letters_waiting or engine.missing_schemas
        longest = BUSY_POLL_SECONDS if busy else POLL_SECONDS
        now = clock()
        ahead = engine.next_wakeup(now) - now.mono
        # What is due and was not just sent waits for something other than time.
        return min(longest, ahead) if ahead > 0 else BUSY_POLL_SECONDS

    def _take_share(self, *, ask: bool) -> None:
        now = clock()
        if ask:
            self._share.ask(now.mono)
        self._engine.share(self._share.of(len(self._held)), now)

    def _report(self, now: Now) -> None:
        source = self._source
        if source is None:
            return
        membership = Membership(
            joined=source.joined,
            committed=source.committed(),
            ends=source.end_offsets(),
            paused=self._paused,
            problem=source.problem,
            draining=self._stop_by is not None,
        )
        self._parts.reporter.report(now, membership)
