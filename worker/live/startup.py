"""The life of the worker: serve health, wait for the topics, run the loop until a stop is requested, close."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from worker import collector
from worker.attentive.senders import Senders
from worker.backoff import StopRequested, patiently
from worker.core.facts import DrainOutcome
from worker.core.totals import Totals
from worker.kafka.producer import DeadLetters
from worker.kafka.receipts import Receipts
from worker.kafka.topics import (
    Admin,
    TopicsUnavailable,
    ensure_dead_letter_topic,
    ensure_receipt_topic,
    partition_counts,
)
from worker.live.lease import Lease
from worker.live.loop import Loop
from worker.live.ports import Schemas
from worker.logs import LogLimiter
from worker.ops.board import Board
from worker.ops.server import OpsServer
from worker.ops.status import Problem, rfc3339
from worker.ops.telemetry import Telemetry

METADATA_SECONDS: Final = 2.0
"""The longest wait for metadata. It blocks the loop, and a stop has to wait for it."""

_RETRY_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0
_RECEIPTS_SECONDS: Final = 2.0

_Answer = TypeVar("_Answer")


class DeadLetterTopicUnusable(Exception):
    """The dead-letter topic is missing and may not be created, or cannot hold dead letters. Says why."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that must exist before the loop starts, and the client to ask for them.

    `receipts` need not exist: without it, receipts are lost. None: none are written.
    """

    admin: Admin
    subscribed: Sequence[str]
    dead_letters: str
    receipts: str | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The loop, and the parts to start before it and to close after it."""

    loop: Loop
    senders: Senders
    letters: DeadLetters
    receipts: Receipts | None
    schemas: Schemas | None
    lease: Lease
    totals: Totals


class Worker:
    """The whole worker. Nothing is connected before `run`."""

    def __init__(
        self,
        *,
        server: OpsServer,
        board: Board,
        telemetry: Telemetry,
        topics: Topics,
        make_parts: Callable[[], Parts],
        drain_seconds: float,
        log: FilteringBoundLogger,
        version: str,
    ) -> None:
        """`make_parts` is called once, as soon as the topics exist."""
        self._server = server
        self._board = board
        self._telemetry = telemetry
        self._topics = topics
        self._make_parts = make_parts
        self._drain_seconds = drain_seconds
        self._log = log
        self._version = version

    def run(self, stop_requested: Callable[[], bool]) -> bool:
        """Runs until a stop is requested. Returns whether it drained everything. False leaves work to the next start.

        Raises:
            SourceFailed: The consumer met an error that only a restart mends.
            SendersStoppedError: A bug ended the senders.
            AddressUnavailableError: The health server's address is taken.
            DeadLetterTopicUnusable: See there.
            Exception: Whatever `make_parts` raises.
        """
        host, port = self._server.start()
        self._log.info("serving", host=host, port=port, version=self._version)
        try:
            try:
                prepare_topics(self._topics, self._board, self._log, stop_requested)
            except StopRequested:
                self._log.info("stopped", note="while waiting for the topics")
                return True
            return self._run_loop(stop_requested)
        finally:
            self._server.close()
            self._telemetry.close()

    def _run_loop(self, stop_requested: Callable[[], bool]) -> bool:
        parts = self._make_parts()
        parts.lease.begin()
        collector.settle()
        try:
            drain = parts.loop.run(stop_requested, self._stopping)
        finally:
            parts.senders.close()
            parts.letters.close(_CLOSE_SECONDS)
            if parts.receipts is not None:
                parts.receipts.close(_RECEIPTS_SECONDS)
            if parts.schemas is not None:
                parts.schemas.close()
        if drain.outcome is not DrainOutcome.DONE:
            note = "uncommitted, so it is sent again"
            self._log.warning("stopped_with_work_left", drain=drain.outcome, left=drain.left, note=note)
            return False
        self._log.info("stopped", **_summary(parts.totals))
        return True

    def _stopping(self) -> None:
        self._log.info("stopping", drain_seconds=self._drain_seconds)


def prepare_topics(
    topics: Topics,
    board: Board,
    log: FilteringBoundLogger,
    stop_requested: Callable[[], bool],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Waits until the subscribed topics exist, and creates the topics that the worker writes unless they exist.

    Raises:
        DeadLetterTopicUnusable: See there.
        StopRequested: `stop_requested` said so.
    """
    since, limiter = datetime.now(UTC), LogLimiter()

    def waiting(problem: Exception) -> None:
        detail = str(problem)
        board.publish(replace(board.status, problem=detail, problems=(Problem.KAFKA,)))
        if limiter.allows(detail, time.monotonic()):
            log.warning("waiting", reason="kafka", since=rfc3339(since), detail=detail)

    def answered(ask: Callable[[], _Answer]) -> _Answer:
        def turn() -> _Answer:
            board.turn()
            return ask()

        return patiently(
            turn,
            retry_on=TopicsUnavailable,
            wait=lambda _: _RETRY_SECONDS,
            stop_requested=stop_requested,
            sleep=sleep,
            before_sleep=waiting,
        )

    counts = answered(lambda: partition_counts(topics.admin, topics.subscribed, METADATA_SECONDS))
    partitions = max(counts.values(), default=1)
    outcome = answered(lambda: ensure_dead_letter_topic(topics.admin, topics.dead_letters, partitions))
    if outcome.problem is not None:
        raise DeadLetterTopicUnusable(f"dead letters: {outcome.problem}")
    if outcome.created:
        log.info("dead_letter_topic_created", partitions=outcome.partitions)
    if topics.receipts is not None:
        _prepare_receipts(topics.admin, topics.receipts, partitions, log)


def _prepare_receipts(admin: Admin, topic: str, partitions: int, log: FilteringBoundLogger) -> None:
    """Tries once: receipts never hold back what they are about."""
    try:
        outcome = ensure_receipt_topic(admin, topic, partitions)
    except TopicsUnavailable as unavailable:
        log.warning("receipt_topic_unusable", problem=str(unavailable))
        return
    if outcome.problem is not None:
        log.warning("receipt_topic_unusable", problem=outcome.problem)
    elif outcome.created:
        log.info("receipt_topic_created", partitions=outcome.partitions)


def _summary(totals: Totals) -> dict[str, int]:
    return {
        "records": totals.records,
        "calls": totals.calls,
        "calls_saved": totals.calls_saved,
        "dead_letters": totals.dead_letters.total(),
    }
