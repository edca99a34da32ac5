"""`attribute-worker run`: the long-running worker, until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import TypeVar

import click
import structlog
from structlog.typing import FilteringBoundLogger

from worker import logs, wiring
from worker.attentive.senders import SendersStoppedError
from worker.core.facts import DrainOutcome, Observers
from worker.core.letters.codec import WorkerIdentity
from worker.core.totals import Totals
from worker.kafka.connection import PropertiesRefused, RateLimit
from worker.kafka.member import SourceFailed, Subscription
from worker.kafka.topics import (
    Admin,
    TopicsUnavailable,
    ensure_dead_letter_topic,
    partition_counts,
    partition_total,
)
from worker.live.exchange import Exchange
from worker.live.lease import Lease
from worker.live.loop import Loop, clock
from worker.live.membership import Membership, Pace
from worker.live.narrate import Narrator
from worker.live.report import REMIND_SECONDS, Reporter
from worker.live.share import Share
from worker.ops.board import Board
from worker.ops.server import AddressUnavailableError, OpsServer
from worker.ops.status import Status
from worker.ops.telemetry import Telemetry
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded, Settings
from worker.wiring import Unusable

METADATA_SECONDS = 2.0  # the longest wait for the brokers' metadata inside the loop
STARTUP_RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
UNFINISHED_EXIT = 1
UNUSABLE_EXIT = 2
# Millions of small objects live long: the youngest generation is looked through less often, and what start-up left
# behind never again.
GC_THRESHOLD = 50_000

_Answer = TypeVar("_Answer")


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker run --config worker.yaml
  WORKER_KAFKA__BOOTSTRAP_SERVERS=broker:9092 WORKER_SCHEMAS__REGISTRY_URL=http://registry:8081 \\
  WORKER_ATTENTIVE__TOKEN_FILE=/run/secrets/attentive attribute-worker run""",
)
@settings_options
def command(loaded: Loaded) -> None:
    """Run the worker, until SIGTERM or SIGINT.

    It reads the topic, coalesces each user's changes inside the window, makes one call for each set, and commits an
    offset only when everything before it is delivered or an acknowledged dead letter. A stop flushes and drains within
    WORKER_SHUTDOWN__DRAIN_SECONDS; status 1 then says that something was left for the next start.
    """
    settings = loaded.settings
    who = wiring.identity(settings)
    logs.configure(settings.log.level, settings.log.format, who.instance)
    log: FilteringBoundLogger = structlog.get_logger("worker")
    try:
        sys.exit(Run(settings, who, log).run())
    except (Unusable, PropertiesRefused, AddressUnavailableError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(UNUSABLE_EXIT)
    except (SourceFailed, SendersStoppedError) as error:
        log.error("stopped", error=str(error))  # noqa: TRY400 - the message says where; a traceback may hold values
        sys.exit(UNFINISHED_EXIT)


class Stop:
    """Whether a signal asked for the end. A second one changes nothing: the drain has its own deadline."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: a terminal that is closed
            signal.signal(number, self._ask)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.asked = True


class Run:
    """One life of the worker: build, start, turn, stop."""

    def __init__(self, settings: Settings, who: WorkerIdentity, log: FilteringBoundLogger) -> None:
        """Builds what needs no connection, so that unusable settings end it here.

        Raises:
            Unusable: the settings do not make a worker.
        """
        self._settings = settings
        self._who = who
        self._log = log
        self._stop = Stop()
        self._token = wiring.token(settings)
        starting = Status.starting(
            version=who.version,
            instance=who.instance,
            group_id=who.group_id,
            rate_limit=settings.attentive.requests_per_second,
        )
        self._board = Board(starting)
        self._telemetry = Telemetry(self._board, version=who.version, instance=who.instance)
        self._engine = wiring.engine(settings, clock())
        self._lease = Lease(wiring.lease_seconds(settings), contact_seconds=wiring.contact_seconds(settings))
        self._senders = wiring.senders(settings, self._token, self._lease.holds)
        self._admin = Admin(wiring.kafka_properties(settings), log)
        self._limit = RateLimit()

    def run(self) -> int:
        """Runs until a signal; returns the exit status.

        Raises:
            SourceFailed: the consumer met an error that only a restart mends.
            SendersStoppedError: a bug ended the senders' thread.
            AddressUnavailableError: the health server's address is taken.
            Unusable: the schema directory or the registry's settings cannot be used.
        """
        http = self._settings.http
        server = OpsServer(http.host, http.port, board=self._board, registry=self._telemetry.registry)
        host, port = server.start()
        self._log.info("serving", host=host, port=port, version=self._who.version)
        try:
            return self._work()
        finally:
            server.close()
            self._telemetry.close()

    def _work(self) -> int:
        if not self._prepare_topics():
            return 0
        schemas = wiring.schemas(self._settings)
        letters = wiring.dead_letters(self._settings, self._who, schemas, self._log)
        group = Subscription(wiring.member_properties(self._settings), self._settings.kafka.topics, self._log)
        exchange = Exchange(
            self._engine,
            senders=self._senders,
            letters=letters,
            schemas=schemas,
            token=self._token,
            clock=clock,
            observer=Observers(Narrator(self._log), self._telemetry),
        )
        reporter = Reporter(
            self._engine,
            self._who,
            token=self._token,
            schemas=schemas,
            board=self._board,
            log=self._log,
        )
        pace = Pace(
            commit_seconds=self._settings.kafka.commit_interval_seconds,
            drain_seconds=self._settings.shutdown.drain_seconds,
        )
        share = Share(self._partition_total)
        membership = Membership(exchange, group, lease=self._lease, share=share, pace=pace, reporter=reporter)
        loop = Loop(membership, exchange, group)
        self._senders.start()
        self._lease.begin()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
        try:
            drain = loop.run(lambda: self._stop.asked, self._say_stopping)
        finally:
            self._senders.close(CLOSE_SECONDS)
            letters.close(CLOSE_SECONDS)
            if schemas is not None:
                schemas.close()
        if drain.outcome is not DrainOutcome.DONE:
            self._log.warning(
                "stopped with work left", drain=drain.outcome, left=drain.left, note="uncommitted, so it is sent again"
            )
            return UNFINISHED_EXIT
        self._log.info("stopped", **_summary(self._engine.totals))
        return 0

    def _say_stopping(self) -> None:
        self._log.info("stopping", drain_seconds=self._settings.shutdown.drain_seconds)

    def _partition_total(self) -> int | None:
        try:
            return partition_total(self._admin, self._settings.kafka.topics, METADATA_SECONDS)
        except TopicsUnavailable as problem:
            if self._limit.allows("partitions"):
                self._log.warning("partitions not counted", problem=str(problem))
            return None

    def _prepare_topics(self) -> bool:
        """Waits for the topics and sees to the dead-letter topic; False where a signal came first.

        Raises:
            Unusable: the dead-letter topic is missing and may not be created.
        """
        admin, kafka = self._admin, self._settings.kafka
        counts = self._patiently(lambda: partition_counts(admin, kafka.topics, METADATA_SECONDS))
        if counts is None:
            return False
        partitions = max(counts.values(), default=1)
        outcome = self._patiently(lambda: ensure_dead_letter_topic(admin, kafka.dead_letter_topic, partitions))
        if outcome is None:
            return False
        if outcome.problem is not None:
            raise Unusable(f"dead letters: {outcome.problem}")
        if outcome.created:
            self._log.info("dead-letter topic created", partitions=outcome.partitions)
        return True

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer | None:
        """Asks until the brokers answer; None where a signal came first."""
        reminder, since = RateLimit(REMIND_SECONDS), datetime.now(UTC).isoformat(timespec="seconds")
        while not self._stop.asked:
            self._board.turn()
            try:
                return ask()
            except TopicsUnavailable as problem:
                detail = str(problem)
                self._board.publish(replace(self._board.status, problem=detail))
                if reminder.allows(detail):
                    self._log.warning("waiting", reason="kafka", since=since, detail=detail)
                time.sleep(STARTUP_RETRY_SECONDS)
        return None


def _summary(totals: Totals) -> dict[str, int]:
    return {
        "records": totals.records,
        "calls": totals.calls,
        "calls_saved": totals.calls_saved,
        "dead_letters": totals.dead_letters.total(),
    }
