"""Builds the worker that `run` runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from opentelemetry.sdk.trace import TracerProvider
from structlog.typing import FilteringBoundLogger

from worker.attentive.request import ATTRIBUTES_PATH
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.attentive.transport import endpoint, origin
from worker.core.engine import Engine
from worker.core.facts import Observer, Observers
from worker.core.model import WorkerIdentity
from worker.kafka.member import Subscription
from worker.kafka.topics import Admin, PartitionTotal
from worker.live.advice import Advice
from worker.live.exchange import Exchange
from worker.live.lease import Lease
from worker.live.loop import Loop, clock
from worker.live.membership import Membership, Pace
from worker.live.narrate import Narrator
from worker.live.report import Reporter, Seen
from worker.live.share import Share
from worker.live.startup import METADATA_SECONDS, Parts, Topics, Worker
from worker.ops import exporters
from worker.ops.answers import Answers
from worker.ops.board import Board
from worker.ops.letters import LatestLetters
from worker.ops.server import OpsServer
from worker.ops.status import Status
from worker.ops.telemetry import Telemetry
from worker.ops.traces import Traces
from worker.settings.derived import contact_seconds, gather_seconds, lease_seconds, member_properties
from worker.settings.model import Settings
from worker.settings.table import on_call
from worker.wiring import parts
from worker.wiring.receipts import receipts


@dataclass(frozen=True, slots=True)
class _Shared:
    """The parts that exist before the topics do. They need no connection, so unusable settings show at once."""

    identity: WorkerIdentity
    token: Token
    board: Board
    tracing: TracerProvider | None
    telemetry: Telemetry
    engine: Engine
    lease: Lease
    senders: Senders
    admin: Admin
    log: FilteringBoundLogger


def worker(settings: Settings, who: WorkerIdentity, log: FilteringBoundLogger) -> Worker:
    """The whole worker, ready to run.

    Raises:
        Unusable: The settings do not make a worker.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
        ExporterUnusable: The environment names an exporter that the worker does not have.
    """
    parts.prove_schemas(settings)
    bearer = parts.token(settings)
    limit = settings.attentive.requests_per_second
    starting = Status.starting(version=who.version, instance=who.instance, group_id=who.group_id, rate_limit=limit)
    board = Board(replace(starting, destination=origin(settings.attentive.base_url), settings=on_call(settings)))
    exported = exporters.named(version=who.version, instance=who.instance)
    lease = Lease(lease_seconds(settings), contact_seconds=contact_seconds(settings))
    shared = _Shared(
        identity=who,
        token=bearer,
        board=board,
        tracing=exported.tracing,
        telemetry=Telemetry(board, version=who.version, instance=who.instance, exporters=exported),
        engine=parts.engine(settings, clock(), traced=exported.tracing is not None),
        lease=lease,
        senders=parts.senders(settings, bearer, lease.holds),
        admin=parts.admin(settings, log),
        log=log,
    )
    kafka, http = settings.kafka, settings.http
    return Worker(
        server=OpsServer(http.host, http.port, answers=Answers(board, shared.telemetry.registry)),
        board=board,
        telemetry=shared.telemetry,
        topics=Topics(shared.admin, kafka.topics, kafka.dead_letter_topic, settings.receipts.topic),
        make_parts=lambda: _parts(settings, shared),
        drain_seconds=settings.shutdown.drain_seconds,
        log=log,
        version=who.version,
    )


def _parts(settings: Settings, shared: _Shared) -> Parts:
    """The loop and what it drives, once the topics exist: its schemas and its clients connect now.

    Raises:
        Unusable: As `schemas`.
    """
    kafka, log, source = settings.kafka, shared.log, parts.schemas(settings)
    letters = parts.dead_letters(settings, shared.identity, source, log)
    written = receipts(settings, shared.identity, source, log)
    group = Subscription(member_properties(settings), kafka.topics, log)
    latest = LatestLetters()
    total = PartitionTotal(shared.admin, kafka.topics, METADATA_SECONDS, log, renewed=group.renewed)
    exchange = Exchange(
        shared.engine,
        senders=shared.senders,
        letters=letters,
        schemas=source,
        token=shared.token,
        clock=clock,
        observer=_observer(settings, shared, *([latest] if written is None else [latest, written])),
    )
    membership = Membership(
        exchange,
        group,
        lease=shared.lease,
        share=Share(total),
        pace=Pace(commit_seconds=kafka.commit_interval_seconds, drain_seconds=settings.shutdown.drain_seconds),
        reporter=Reporter(
            shared.engine,
            advice=Advice(shared.token),
            schemas=source,
            topics=total,
            seen=Seen(shared.telemetry.calls_ended, latest, written),
            board=shared.board,
            log=log,
        ),
    )
    return Parts(
        loop=Loop(membership, exchange, group, gather_seconds=gather_seconds(settings)),
        senders=shared.senders,
        letters=letters,
        receipts=written,
        schemas=source,
        lease=shared.lease,
        totals=shared.engine.totals,
    )


def _observer(settings: Settings, shared: _Shared, *others: Observer) -> Observer:
    observers = Observers(Narrator(shared.log, Advice(shared.token)), shared.telemetry, *others)
    if shared.tracing is None:
        return observers
    url = endpoint(settings.attentive.base_url, ATTRIBUTES_PATH)
    return Traces(shared.tracing, observers, url=url, who=shared.identity)
