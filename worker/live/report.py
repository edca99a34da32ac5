"""Publishes the status on the board, and logs once a minute what the worker waits for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from worker.attentive.token import Token
from worker.core.delivery import gate
from worker.core.delivery.gate import HaltReason
from worker.core.engine import Engine
from worker.core.model import Now, WorkerIdentity
from worker.core.status import EngineStatus
from worker.core.watchdog import Obstacle, Stuck
from worker.live.elapsed import Elapsed
from worker.live.ports import Schemas, Standing
from worker.logs import LogLimiter
from worker.ops.board import Board
from worker.ops.status import Halt, PartitionStatus, Problem, Rate, State, Status, rfc3339

REPORT_SECONDS = 0.25

# How to mend the cause of a halt. An outage has no entry: only the destination can mend that.
_MENDS: Final[Mapping[HaltReason, str]] = {
    HaltReason.UNAUTHORIZED: "check that the token is the app's current one, and that the app has attributes:write; "
    "the worker reads a token file again by itself",
    HaltReason.WRONG_URL: "check WORKER_ATTENTIVE__BASE_URL",
    HaltReason.REJECTION_STORM: "read the latest dead letters; if they are right, "
    "raise WORKER_STORM__LETTERS_MAX and restart",
}


class Counted(Protocol):
    """The subscribed topics, as they were last counted."""

    @property
    def problem(self) -> str | None:
        """Why they are not counted, or which pattern matches nothing. None if all is well."""

    @property
    def latest(self) -> int | None:
        """How many partitions they have, by the latest count. None before the first."""


class Reporter:
    """Reports a few times a second. The main thread calls it at every turn."""

    def __init__(
        self,
        engine: Engine,
        identity: WorkerIdentity,
        *,
        token: Token,
        schemas: Schemas | None,
        topics: Counted,
        board: Board,
        log: FilteringBoundLogger,
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._token = token
        self._schemas = schemas
        self._topics = topics
        self._board = board
        self._log = log
        self._report_at = 0.0
        self._obstacle: str | None = None
        self._obstacle_since = 0.0
        self._reminders = LogLimiter()
        self._elapsed = Elapsed()

    def report(self, now: Now, standing: Standing) -> None:
        """Notes the turn. Every `REPORT_SECONDS`, also publishes the status and logs what the worker waits for."""
        self._board.turn()
        if now.mono < self._report_at and not standing.draining:
            return
        self._report_at = now.mono + REPORT_SECONDS
        engine = self._engine.status(now)
        self._elapsed.look(engine, now.mono)
        problems = self._problems(engine, standing)
        self._remind(now, engine, problems)
        self._remind_of_stuck(now, engine)
        self._board.publish(self._status(now, engine, problems, standing))

    def _remind(self, now: Now, engine: EngineStatus, problems: Mapping[Problem, str]) -> None:
        """Logs once a minute what the worker waits for, and since when."""
        obstacle, detail = self._obstacle_of(engine, problems)
        if obstacle != self._obstacle:
            self._obstacle, self._obstacle_since = obstacle, now.wall_ms / 1000
        if obstacle is None or not self._reminders.allows((obstacle, self._obstacle_since), now.mono):
            return
        self._log.warning(
            "waiting",
            reason=obstacle,
            since=rfc3339(datetime.fromtimestamp(self._obstacle_since, UTC)),
            detail=detail,
            open_entries=engine.open_entries,
            held_bytes=engine.held_bytes,
        )

    def _remind_of_stuck(self, now: Now, engine: EngineStatus) -> None:
        """Logs once a minute which partition has stood still longest, and what it waits for."""
        found = _stuck(engine)
        if not found or not self._reminders.allows("stuck", now.mono):
            return
        stuck = found[0]
        self._log.warning(
            "partition stuck",
            topic=stuck.partition.topic,
            partition=stuck.partition.number,
            offset=stuck.offset,
            seconds=round(stuck.seconds),
            reason=stuck.obstacle,
            detail=stuck.detail,
            others=len(found) - 1,
        )

    def _obstacle_of(self, engine: EngineStatus, problems: Mapping[Problem, str]) -> tuple[str | None, str | None]:
        """What the worker waits for, as (word, sentence): the most important thing only. (None, None) if nothing."""
        if engine.halt is not None:
            return str(engine.halt.reason), self._detail(engine.halt)
        return next(((word, text) for word, text in problems.items() if word is not Problem.STUCK), (None, None))

    def _status(self, now: Now, engine: EngineStatus, problems: Mapping[Problem, str], standing: Standing) -> Status:
        return Status(
            state=_state(engine, standing),
            halt=self._halt(engine),
            version=self._identity.version,
            instance=self._identity.instance,
            group_id=self._identity.group_id,
            rate=Rate(limit=engine.rate_limit, share=engine.rate_share, current=engine.rate_allowed),
            open_entries=engine.open_entries,
            in_flight=engine.in_flight,
            held_bytes=engine.held_bytes,
            partitions=_partitions(engine, now, standing),
            totals=engine.totals,
            joined=standing.joined,
            problem=next(iter(problems.values()), None),
            problems=tuple(problems),
            held_bytes_max=engine.held_bytes_max,
            letters_withheld=engine.letters_withheld,
            partitions_subscribed=self._topics.latest,
            halted_seconds=dict(self._elapsed.halted_seconds),
            calls_allowed=self._elapsed.calls_allowed,
        )

    def _problems(self, engine: EngineStatus, standing: Standing) -> dict[Problem, str]:
        """What is wrong, in words: the most important first."""
        found = {
            Problem.DEAD_LETTER_TOPIC: engine.letters_problem,
            Problem.SCHEMA_REGISTRY: self._schemas.waiting() if self._schemas is not None else None,
            Problem.KAFKA: self._kafka_problem(engine, standing),
            Problem.STUCK: _stuck_problem(engine),
        }
        return {word: problem for word, problem in found.items() if problem is not None}

    def _kafka_problem(self, engine: EngineStatus, standing: Standing) -> str | None:
        problem = standing.problem or self._topics.problem
        if engine.rate_share > 0 or not engine.progress or standing.draining:
            return problem
        held = min(engine.progress)
        why = problem or "the brokers count no partition of WORKER_KAFKA__TOPICS"
        return f"no share of the rate, so {held.topic}/{held.number} and others held here are not delivered: {why}"

    def _halt(self, engine: EngineStatus) -> Halt | None:
        halt = engine.halt
        if halt is None:
            return None
        since = datetime.fromtimestamp(halt.since_ms / 1000, UTC)
        return Halt(str(halt.reason), since, self._detail(halt))

    def _detail(self, halt: gate.Halt) -> str:
        """What the worker met, and how to mend it."""
        mend = _MENDS.get(halt.reason)
        return self._token.problem or (f"{halt.detail}; {mend}" if mend else halt.detail)


def _stuck(engine: EngineStatus) -> list[Stuck]:
    """The partitions that do not advance, except for a halt: that is reported by itself."""
    return [one for one in engine.stuck if one.obstacle is not Obstacle.HALT]


def _stuck_problem(engine: EngineStatus) -> str | None:
    found = _stuck(engine)
    if not found:
        return None
    stuck = found[0]
    others = f"; and {len(found) - 1} more partitions" if len(found) > 1 else ""
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
