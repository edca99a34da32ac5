"""Publishes the status on the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from worker.core.counted import counted
from worker.core.engine import Engine
from worker.core.model import Now
from worker.core.status import EngineStatus
from worker.core.watchdog import Obstacle, Stuck
from worker.live.advice import Advice
from worker.live.effect import Effect
from worker.live.elapsed import Elapsed
from worker.live.letter_lines import LetterLines
from worker.live.ports import Receipts, Schemas, Standing
from worker.live.reminders import Reminders
from worker.live.silence import Silence
from worker.live.throttle_lines import ThrottleLines
from worker.ops.board import Board
from worker.ops.letters import LatestLetters
from worker.ops.status import Halt, LastError, PartitionStatus, Problem, Rate, ReceiptTotals, State, Status

REPORT_SECONDS = 0.25
OUTSIDE_SECONDS = 10.0
_OUTSIDE = (
    "not in the consumer group for {:.0f} s: it waits for members that ended without leaving it, after a crash for "
    "the whole session.timeout.ms (45 s by default)"
)


class Counted(Protocol):
    """The subscribed topics, as they were last counted."""

    @property
    def problem(self) -> str | None:
        """Why they are not counted, or which pattern matches nothing. None if all is well."""

    @property
    def latest(self) -> int | None:
        """How many partitions they have, by the latest count. None before the first."""

    @property
    def retention_seconds(self) -> Mapping[str, float]:
        """How long each keeps its records, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the observers of facts count and keep. They go on doing so.

    Attributes:
        calls_ended: requests that ended, by what became of them.
        letters: the latest dead letters.
        receipts: None if none are written.
    """

    calls_ended: Mapping[str, int]
    letters: LatestLetters
    receipts: Receipts | None = None


class Reporter:
    """Reports a few times a second. The main thread calls it at every turn."""

    def __init__(
        self,
        engine: Engine,
        *,
        advice: Advice,
        schemas: Schemas | None,
        topics: Counted,
        seen: Seen,
        board: Board,
        log: FilteringBoundLogger,
    ) -> None:
        """What never changes is on the board already."""
        self._engine = engine
        self._advice = advice
        self._schemas = schemas
        self._topics = topics
        self._seen = seen
        self._board = board
        self._report_at = 0.0
        self._reminders = Reminders(log)
        self._letter_lines = LetterLines(log, seen.letters)
        self._throttle_lines = ThrottleLines(log)
        self._elapsed = Elapsed()
        self._silence = Silence()
        self._effect = Effect()
        self._outside_since: float | None = None  # not a member of the group

    def report(self, now: Now, standing: Standing) -> None:
        """Notes the turn. Every `REPORT_SECONDS`, also publishes the status and logs what is due."""
        self._board.turn()
        if now.mono < self._report_at and not standing.draining:
            return
        self._report_at = now.mono + REPORT_SECONDS
        engine = self._engine.status(now)
        self._elapsed.look(engine, now.mono)
        if self._seen.receipts is not None:
            self._seen.receipts.step()
        problems = self._problems(now, engine, standing)
        status = self._status(now, engine, problems, standing)
        self._board.publish(status)
        self._reminders.look(now, status, _stuck(engine))
        self._letter_lines.look(now.mono)
        self._throttle_lines.look(engine, now.mono)

    def _status(self, now: Now, engine: EngineStatus, problems: Mapping[Problem, str], standing: Standing) -> Status:
        return replace(
            self._board.status,
            state=_state(engine, standing),
            halt=self._halt(engine, now),
            rate=Rate(limit=engine.rate_limit, share=engine.rate_share, current=engine.rate_now),
            open_entries=engine.open_entries,
            in_flight=engine.in_flight,
            held_bytes=engine.held_bytes,
            partitions=_partitions(engine, now, standing),
            totals=engine.totals,
            joined=standing.joined,
            problem=next(iter(problems.values()), None),
            problems=tuple(problems),
            last_error=_last_error(engine),
            held_bytes_max=engine.held_bytes_max,
            remembered_users=engine.remembered_users,
            remembered_bytes=engine.remembered_bytes,
            letters_withheld=engine.letters_withheld,
            partitions_subscribed=self._topics.latest,
            retention_seconds=dict(self._topics.retention_seconds),
            halted_seconds=dict(self._elapsed.halted_seconds),
            calls_allowed=self._elapsed.calls_allowed,
            calls_ended=dict(self._seen.calls_ended),
            latest_dead_letters=self._seen.letters.latest,
            receipts=_receipt_totals(self._seen.receipts),
        )

    def _problems(self, now: Now, engine: EngineStatus, standing: Standing) -> dict[Problem, str]:
        """What is wrong, in words: the most important first."""
        found = {
            Problem.RETRY_AFTER: _pause_problem(engine),
            Problem.DEAD_LETTER_TOPIC: engine.letters_problem,
            Problem.SCHEMA_REGISTRY: self._schemas.waiting() if self._schemas is not None else None,
            Problem.KAFKA: self._kafka_problem(now, engine, standing),
            Problem.NO_RECORDS: self._no_records_problem(now, engine, standing),
            Problem.NO_EFFECT: self._effect.problem(engine.totals),
            Problem.STUCK: _stuck_problem(engine),
            Problem.RECEIPTS: self._seen.receipts.problem if self._seen.receipts is not None else None,
        }
        return {word: problem for word, problem in found.items() if problem is not None}

    def _no_records_problem(self, now: Now, engine: EngineStatus, standing: Standing) -> str | None:
        explained = {*standing.paused, *(stuck.partition for stuck in engine.stuck)}
        return self._silence.problem(engine.progress, standing.end_offsets(), explained, now.mono)

    def _kafka_problem(self, now: Now, engine: EngineStatus, standing: Standing) -> str | None:
        problem = standing.problem or self._topics.problem or self._outside(now, standing)
        if engine.rate_share > 0 or not engine.progress or standing.draining:
            return problem
        held = min(engine.progress)
        why = problem or "the brokers count no partition of WORKER_KAFKA__TOPICS"
        return f"no share of the rate, so {held.topic}/{held.number} and others held here are not delivered: {why}"

    def _outside(self, now: Now, standing: Standing) -> str | None:
        """Why the group does not let this worker in, if that lasts."""
        if standing.joined or standing.draining:
            self._outside_since = None
            return None
        self._outside_since = now.mono if self._outside_since is None else self._outside_since
        seconds = now.mono - self._outside_since
        return _OUTSIDE.format(seconds) if seconds >= OUTSIDE_SECONDS else None

    def _halt(self, engine: EngineStatus, now: Now) -> Halt | None:
        halt = engine.halt
        if halt is None:
            return None
        probe_in = None if engine.probe_at is None else max(0.0, engine.probe_at - now.mono)
        next_probe = None if probe_in is None else _moment(now.wall_ms + probe_in * 1000)
        met, mend = self._advice.on(halt.reason, halt.detail)
        return Halt(str(halt.reason), _moment(halt.since_ms), met, mend, next_probe)


def _receipt_totals(receipts: Receipts | None) -> ReceiptTotals | None:
    return None if receipts is None else ReceiptTotals(receipts.written, receipts.lost)


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _last_error(engine: EngineStatus) -> LastError | None:
    error = engine.latest_error
    return None if error is None else LastError(_moment(error.at_ms), error.words)


def _pause_problem(engine: EngineStatus) -> str | None:
    if not engine.pause_seconds:
        return None
    return f"the destination asked for a pause (Retry-After), so no call is made for {engine.pause_seconds:.0f} s more"


def _stuck(engine: EngineStatus) -> list[Stuck]:
    """The partitions that do not advance, except for a halt: that is reported by itself."""
    return [one for one in engine.stuck if one.obstacle is not Obstacle.HALT]


def _stuck_problem(engine: EngineStatus) -> str | None:
    found = _stuck(engine)
    if not found:
        return None
    stuck = found[0]
    others = f"; and {counted(len(found) - 1, 'other partition')}" if len(found) > 1 else ""
    where = f"{stuck.partition.topic}[{stuck.partition.number}] offset {stuck.offset}"
    return f"{where} has not been settled for {stuck.seconds:.0f} s: {stuck.detail}{others}"


def _partitions(engine: EngineStatus, now: Now, standing: Standing) -> tuple[PartitionStatus, ...]:
    committed, ends = standing.committed(), standing.end_offsets()
    return tuple(
        PartitionStatus(
            topic=partition.topic,
            partition=partition.number,
            position=progress.position,
            committed=committed.get(partition),
            end=ends.get(partition),
            paused=partition in standing.paused,
            oldest_undelivered_seconds=_age_seconds(progress.oldest_undelivered_ms, now),
        )
        for partition, progress in sorted(engine.progress.items())
    )


def _state(engine: EngineStatus, standing: Standing) -> State:
    if standing.draining:
        return State.DRAINING
    if engine.halt is not None:
        return State.HALTED
    if not standing.joined:
        return State.STARTING
    return State.THROTTLED if engine.throttled else State.RUNNING


def _age_seconds(timestamp_ms: int | None, now: Now) -> float | None:
    return None if timestamp_ms is None else max(0.0, (now.wall_ms - timestamp_ms) / 1000)
