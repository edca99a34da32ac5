"""Builds the parts of the worker from its settings. No other module does; commands parse, wire and print."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from fastavro import parse_schema
from opentelemetry.sdk.trace import TracerProvider
from structlog.typing import FilteringBoundLogger

import worker as package
from worker.attentive.request import ATTRIBUTES_PATH
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.attentive.transport import endpoint, origin
from worker.backoff import full_jitter
from worker.core.delivery.rate import Rate
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.facts import Observer, Observers
from worker.core.letters.codec import Encoded, encode
from worker.core.model import Letter, Now, WorkerIdentity
from worker.core.options import Options
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.kafka.member import Subscription
from worker.kafka.producer import DeadLetters
from worker.kafka.topics import Admin, PartitionTotal
from worker.live.advice import Advice
from worker.live.exchange import Exchange
from worker.live.lease import Lease
from worker.live.loop import Loop, clock
from worker.live.membership import Membership, Pace
from worker.live.narrate import Narrator
from worker.live.ports import Schemas
from worker.live.report import Reporter, Seen
from worker.live.share import Share
from worker.live.startup import METADATA_SECONDS, Parts, Topics, Worker
from worker.ops import exporters
from worker.ops.board import Board
from worker.ops.letters import LatestLetters
from worker.ops.server import OpsServer
from worker.ops.status import Status
from worker.ops.telemetry import Telemetry
from worker.ops.traces import LINKS_MAX, Traces
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient
from worker.registry.directory import DirectorySchemas, read_schema
from worker.registry.registry import RegistrySchemas
from worker.settings.derived import contact_seconds, kafka_properties, lease_seconds, member_properties
from worker.settings.model import Settings
from worker.settings.table import on_call
from worker.wiring_receipts import receipts

USER_AGENT: Final = f"attentive-attribute-worker/{package.__version__}"


class Unusable(Exception):
    """The settings are valid, but a part cannot be built from them. The message says which one and why."""


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
    if settings.schemas.registry_url is not None:
        _prove_registry(settings)
    bearer = token(settings)
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
        engine=engine(settings, clock(), traced=exported.tracing is not None),
        lease=lease,
        senders=senders(settings, bearer, lease.holds),
        admin=admin(settings, log),
        log=log,
    )
    kafka, http = settings.kafka, settings.http
    return Worker(
        server=OpsServer(http.host, http.port, board=board, registry=shared.telemetry.registry),
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
    kafka, log, source = settings.kafka, shared.log, schemas(settings)
    letters = dead_letters(settings, shared.identity, source, log)
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
        loop=Loop(membership, exchange, group),
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


def identity(settings: Settings) -> WorkerIdentity:
    """Names this process among the replicas: by the host's name, which is the pod's, and the pid, for its restarts."""
    return WorkerIdentity(package.__version__, f"{socket.gethostname()}-{os.getpid()}", settings.kafka.group_id)


def admin(settings: Settings, log: FilteringBoundLogger) -> Admin:
    """The admin client.

    Raises:
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    return Admin(kafka_properties(settings), log)


def token(settings: Settings) -> Token:
    """The bearer token, from the settings or from its file."""
    given, path = settings.attentive.token, settings.attentive.token_file
    if path is not None:
        return Token.from_file(path)
    return Token.given("" if given is None else given.get_secret_value())


def decoder(settings: Settings) -> Decoder:
    """Decodes bytes to events, with the schemas and the mapping of the settings.

    Raises:
        Unusable: A schema file cannot be read or is not Avro, or the mapping does not fit it.
    """
    schemas = settings.schemas
    writer, reader = schemas.writer_schema if schemas.framing == "none" else None, schemas.reader_schema
    try:
        return Decoder(
            FieldMapping(**settings.mapping.model_dump()),
            writer_schema=None if writer is None else read_schema(writer),
            reader_schema=None if reader is None else read_schema(reader),
        )
    except ValueError as error:
        raise Unusable(f"schemas or mapping: {error}") from None


def preflight(settings: Settings) -> Preflight:
    """Checks an event before any call.

    Raises:
        Unusable: The rules do not accept a name pattern or the order.
    """
    try:
        return Preflight(
            IdentityRules(**settings.identity.model_dump()),
            AttributeRules(**settings.attributes.model_dump()),
        )
    except ValueError as error:
        raise Unusable(f"identity or attributes: {error}") from None


def engine(
    settings: Settings, now: Now, *, traced: bool = False, rate: Rate | None = None, search_yields: bool = False
) -> Engine:
    """The core, with the limits of the settings. If `traced`, its calls know the spans that they come from.

    Raises:
        Unusable: As `decoder` and `preflight`.
    """
    attentive = settings.attentive
    options = Options(
        window_seconds=settings.window.seconds,
        max_bytes=settings.window.max_bytes,
        requests_per_second=attentive.requests_per_second,
        concurrency=attentive.concurrency,
        timeout_seconds=attentive.timeout_seconds,
        retry_after_max_seconds=attentive.retry_after_max_seconds,
        probe_max_seconds=attentive.probe_max_seconds,
        server_error_seconds=attentive.server_error_seconds,
        calls_per_entry_max=attentive.calls_per_entry_max,
        storm_letters_max=settings.storm.letters_max,
        storm_share_max=settings.storm.share_max,
        trace_links_max=LINKS_MAX if traced else 0,
        search_yields=search_yields,
        receipts=settings.receipts.topic is not None,
    )
    return Engine(
        options,
        decoder=decoder(settings),
        preflight=preflight(settings),
        backoff=full_jitter(attentive.retry_base_seconds, attentive.retry_max_seconds),
        now=now,
        rate=rate,
    )


def senders(
    settings: Settings, bearer: Token, may_send: Callable[[], bool], *, write_within_seconds: float = math.inf
) -> Senders:
    """Sends requests. Writes none while `may_send` is false, nor later than so long after it was submitted.

    Raises:
        Unusable: The environment names a proxy or a certificate file that cannot be used.
    """
    attentive = settings.attentive
    try:
        return Senders(
            attentive.base_url,
            bearer,
            concurrency=attentive.concurrency,
            user_agent=USER_AGENT,
            connection_age_max_seconds=attentive.connection_age_max_seconds,
            may_send=may_send,
            write_within_seconds=write_within_seconds,
        )
    except ValueError as error:
        raise Unusable(f"attentive: {error}") from None


def schemas(settings: Settings) -> Schemas | None:
    """The source of schemas. None if all records have the one schema that the settings name.

    Raises:
        Unusable: The directory contains a file that is not a schema, or the client refuses the registry's settings.
    """
    chosen = settings.schemas
    if chosen.framing == "none":
        return None
    try:
        if chosen.directory is not None:
            return schema_directory(chosen.directory, chosen.unknown_id_seconds)
        return RegistrySchemas(
            chosen.registry_url or "",
            chosen.registry_properties,
            dead_letter_topic=settings.kafka.dead_letter_topic,
            receipt_topic=settings.receipts.topic,
            unknown_id_seconds=chosen.unknown_id_seconds,
            leave_out_tagged=chosen.read_rules == "leave_out",
        )
    except ValueError as error:
        raise Unusable(f"schemas: {error}") from None


def schema_directory(directory: Path, unknown_id_seconds: float) -> DirectorySchemas:
    """The source of schemas that reads a directory; errors as `DirectorySchemas`."""
    return DirectorySchemas(directory, unknown_id_seconds)


def registry_client(settings: Settings) -> RegistryClient:
    """A client for single questions to the schema registry; errors as `RegistryClient`."""
    chosen = settings.schemas
    leave_out = chosen.read_rules == "leave_out"
    return RegistryClient(chosen.registry_url or "", chosen.registry_properties, leave_out_tagged=leave_out)


def _prove_registry(settings: Settings) -> None:
    """Its settings are read again once the topics exist, which may be long after the start."""
    try:
        registry_client(settings).close()
    except ValueError as error:
        raise Unusable(f"schemas: {error}") from None


def dead_letters(
    settings: Settings, who: WorkerIdentity, source: Schemas | None, log: FilteringBoundLogger
) -> DeadLetters:
    """The producer of dead letters, which are framed like the input."""
    schema = cast("Mapping[str, object]", parse_schema(bundled("dead_letter")))  # the schema of a record is a dict

    def write(letter: Letter, max_bytes: int) -> Encoded:
        schema_id = None if source is None else source.dead_letter_schema_id()
        return encode(letter, worker=who, schema=schema, schema_id=schema_id, max_bytes=max_bytes)

    return DeadLetters(kafka_properties(settings), settings.kafka.dead_letter_topic, write, log)
