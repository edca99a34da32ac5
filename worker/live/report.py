"""How things stand, for people and machines: log lines, metrics, and the status on the board."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.attentive.token import Token
from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.engine import Engine
from worker.core.model import Now, Partition, WorkerIdentity
from worker.logs import LogLimiter
from worker.ops.board import Board
from worker.ops.status import Halt, PartitionStatus, Rate, State, Status, rfc3339
from worker.ops.telemetry import Outcome, Telemetry
from worker.registry.directory import SchemaSource

PUBLISH_SECONDS = 0.25

_WARNINGS: Final = frozenset({"halted", "unusual_success"})
# How to mend what a halt waits for; an outage is not the user's to mend.
_MENDS: Final[Mapping[HaltReason, str]] = {
    HaltReason.UNAUTHORIZED: "the token must be its app's current one, and the app have attributes:write; "
    "a token file is read again by itself",
    HaltReason.WRONG_URL: "check WORKER_ATTENTIVE__BASE_URL",
    HaltReason.REJECTION_STORM: "see what the dead letters written last say; if they are right, "
    "raise WORKER_STORM__LETTERS_MAX and restart",
}
OUTCOMES: Final[Mapping[Verdict, Outcome]] = {
    Verdict.DELIVERED: "delivered",
    Verdict.REFUSED: "refused",
    Verdict.NOT_FOUND: "dead_letter",
    Verdict.UNEXPECTED: "dead_letter",
    Verdict.RETRY: "retry",
    Verdict.THROTTLED: "retry",
    Verdict.UNAUTHORIZED: "halted",
    Verdict.WRONG_URL: "halted",
    Verdict.ABORTED: "aborted",
}


@dataclass(frozen=True, slots=True)
class Membership:
    """The Kafka side of things. Offsets are those of the next record."""

    joined: bool = False
    committed: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)
    paused: Collection[Partition] = ()
    problem: str | None = None
    draining: bool = False


class Reporter:
    """Tells what the engine did and what the worker waits for. Used by the main thread, at every turn."""

    def __init__(
        self,
        engine: Engine,
        identity: WorkerIdentity,
        *,
        token: Token,
        schemas: SchemaSource | None,
        board: Board,
        telemetry: Telemetry,
        log: FilteringBoundLogger,
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._token = token
        self._schemas = schemas
        self._board = board
        self._telemetry = telemetry
        self._log = log
        self._publish_at = 0.0
        self._obstacle: str | None = None
        self._obstacle_since = 0.0
        self._reminders = LogLimiter()

    def report(self, now: Now, membership: Membership) -> None:
        """Logs what is new, and publishes the status a few times a second."""
        notices, deliveries = self._engine.news()
        for delivery in deliveries:
            self._telemetry.entry_delivered(delivery.changes, delivery.age_seconds)
        for notice in notices:
            level = self._log.warning if notice.event in _WARNINGS else self._log.info
            level(notice.event, **notice.fields)
        self._remind(now, membership)
        if now.mono >= self._publish_at or membership.draining:
            self._publish_at = now.mono + PUBLISH_SECONDS
            self._board.publish(self._status(now, membership))

    def _remind(self, now: Now, membership: Membership) -> None:
        """One line a minute about what the worker waits for, and since when."""
        obstacle, detail = self._waiting(membership)
        if obstacle != self._obstacle:
            self._obstacle, self._obstacle_since = obstacle, now.wall_ms / 1000
        if obstacle is None or not self._reminders.allows((obstacle, self._obstacle_since), now.mono):
            return
        self._log.warning(
            "waiting",
            reason=obstacle,
            since=rfc3339(datetime.fromtimestamp(self._obstacle_since, UTC)),
            detail=detail,
            open_entries=self._engine.open_entries,
            held_bytes=self._engine.held_bytes,
        )

    def _waiting(self, membership: Membership) -> tuple[str | None, str | None]:
        """What keeps the worker from its job, in a word and in a sentence; the most pressing of them."""
        engine = self._engine
        if engine.halt is not None:
            return str(engine.halt.reason), self._detail(engine.halt.reason, engine.halt.detail)
        if engine.letters_problem is not None:
            return "dead_letter_topic", engine.letters_problem
        waiting = self._schemas.waiting() if self._schemas is not None else None
        if waiting is not None:
            return "schema_registry", waiting
        return ("kafka", membership.problem) if membership.problem is not None else (None, None)

    def _status(self, now: Now, membership: Membership) -> Status:
        engine = self._engine
        waiting = self._schemas.waiting() if self._schemas is not None else None
        return Status(
            state=_state(engine, now, membership),
            halt=self._halt(),
            version=self._identity.version,
            instance=self._identity.instance,
            group_id=self._identity.group_id,
            rate=Rate(limit=engine.rate_limit, share=engine.rate_share, current=engine.rate_allowed),
            open_entries=engine.open_entries,
            in_flight=engine.in_flight,
            held_bytes=engine.held_bytes,
            partitions=_partitions(engine, now, membership),
            totals=engine.totals.snapshot(),
            joined=membership.joined,
            problem=engine.letters_problem or waiting or membership.problem,
        )

    def _halt(self) -> Halt | None:
        halt = self._engine.halt
        if halt is None:
            return None
        since = datetime.fromtimestamp(halt.since_ms / 1000, UTC)
        return Halt(str(halt.reason), since, self._detail(halt.reason, halt.detail))

    def _detail(self, reason: HaltReason, detail: str) -> str:
        """What the worker met, and how to mend it."""
        mend = _MENDS.get(reason)
        return self._token.problem or (f"{detail}; {mend}" if mend else detail)


def _partitions(engine: Engine, now: Now, membership: Membership) -> tuple[PartitionStatus, ...]:
    return tuple(
        PartitionStatus(
            topic=partition.topic,
            partition=partition.number,
            position=progress.position,
            committed=membership.committed.get(partition),
            end=membership.ends.get(partition),
            paused=partition in membership.paused,
            oldest_undelivered_seconds=_age_seconds(progress.oldest_undelivered_ms, now),
        )
        for partition, progress in sorted(engine.progress().items())
    )


def _state(engine: Engine, now: Now, membership: Membership) -> State:
    if membership.draining:
        return State.DRAINING
    if engine.halt is not None:
        return State.HALTED
    if not membership.joined:
        return State.STARTING
    return State.THROTTLED if engine.throttled(now) else State.RUNNING


def _age_seconds(timestamp_ms: int | None, now: Now) -> float | None:
    return None if timestamp_ms is None else max(0.0, (now.wall_ms - timestamp_ms) / 1000)
