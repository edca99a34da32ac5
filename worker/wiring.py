"""The worker's parts, built from its settings."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from fastavro import parse_schema
from structlog.typing import FilteringBoundLogger

import worker
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.backoff import full_jitter
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.letters.codec import Encoded, WorkerIdentity, encode
from worker.core.model import Letter, Now
from worker.core.options import Options
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.kafka.connection import uses_kip_848
from worker.kafka.producer import DeadLetters
from worker.registry.directory import DirectorySchemas, RegistrySchemas, SchemaSource, bundled
from worker.settings.load import Settings

SESSION_TIMEOUT_MS = 45_000  # librdkafka's default, and the brokers' for the groups that they drive
HEARTBEAT_INTERVAL_MS = 3_000
STATISTICS_MS_MAX = 5_000
STATISTICS_PER_LEASE = 8
CONTACT_SHARE = 0.8  # of the session time-out
USER_AGENT = f"attentive-attribute-worker/{worker.__version__}"


class Unusable(Exception):
    """The settings are well formed, and yet a part cannot be built from them; the message says which and why."""


def identity(settings: Settings) -> WorkerIdentity:
    """This process among the replicas: the host's name is the pod's, the pid tells its restarts apart."""
    return WorkerIdentity(worker.__version__, f"{socket.gethostname()}-{os.getpid()}", settings.kafka.group_id)


def kafka_properties(settings: Settings) -> dict[str, str]:
    """What every Kafka client of the worker is given."""
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "group.id": settings.kafka.group_id,
        **settings.kafka.properties,
    }


def member_properties(settings: Settings) -> dict[str, str]:
    """What the member of the group is given: statistics come often enough to tell a silent coordinator in time."""
    interval_ms = min(STATISTICS_MS_MAX, int(contact_seconds(settings) * 1000 / STATISTICS_PER_LEASE))
    return {**kafka_properties(settings), "statistics.interval.ms": str(max(1, interval_ms))}


def token(settings: Settings) -> Token:
    """The bearer token, given or from its file."""
    given, path = settings.attentive.token, settings.attentive.token_file
    if path is not None:
        return Token.from_file(path)
    return Token.given("" if given is None else given.get_secret_value())


def decoder(settings: Settings) -> Decoder:
    """From bytes to events, by the settings' schemas and mapping.

    Raises:
        Unusable: a schema file cannot be read or is no Avro, or the mapping does not fit it.
    """
    schemas = settings.schemas
    writer = _schema_file(schemas.writer_schema) if schemas.framing == "none" else None
    try:
        return Decoder(
            FieldMapping(**settings.mapping.model_dump()),
            writer_schema=writer,
            reader_schema=_schema_file(schemas.reader_schema),
        )
    except ValueError as error:
        raise Unusable(f"schemas or mapping: {error}") from None


def preflight(settings: Settings) -> Preflight:
    """What is found before any call.

    Raises:
        Unusable: a name pattern or an order that the rules do not take.
    """
    try:
        return Preflight(
            IdentityRules(**settings.identity.model_dump()),
            AttributeRules(**settings.attributes.model_dump()),
        )
    except ValueError as error:
        raise Unusable(f"identity or attributes: {error}") from None


def engine(settings: Settings, now: Now) -> Engine:
    """The core, with the settings' limits.

    Raises:
        Unusable: as `decoder` and `preflight`.
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
    )
    return Engine(
        options,
        decoder=decoder(settings),
        preflight=preflight(settings),
        backoff=full_jitter(attentive.retry_base_seconds, attentive.retry_max_seconds),
        now=now,
    )


def lease_seconds(settings: Settings) -> float:
    """How long the main loop may be silent before nothing more is sent: less than the group waits for a member.

    The group counts from the latest heartbeat, which may be one interval old when the loop turns.
    """
    properties = settings.kafka.properties
    if settings.kafka.lease_seconds is not None:
        return settings.kafka.lease_seconds
    session_ms = float(properties.get("session.timeout.ms", SESSION_TIMEOUT_MS))
    heartbeat_ms = float(properties.get("heartbeat.interval.ms", HEARTBEAT_INTERVAL_MS))
    return max(session_ms - heartbeat_ms, session_ms / 2) / 1000


def contact_seconds(settings: Settings) -> float:
    """How long the coordinator may not be heard before nothing more is sent.

    The group counts from the heartbeat that was answered then, so that only the answer's way is to be allowed for; and
    one must have the time to come. Under KIP-848 the brokers set the session time-out, and the lease goes by it.
    """
    properties = settings.kafka.properties
    if uses_kip_848(properties):
        return lease_seconds(settings)
    session_ms = float(properties.get("session.timeout.ms", SESSION_TIMEOUT_MS))
    return max(lease_seconds(settings), session_ms * CONTACT_SHARE / 1000)


def senders(settings: Settings, bearer: Token, may_send: Callable[[], bool]) -> Senders:
    """The requests in flight; none is written where `may_send` says no.

    Raises:
        Unusable: the environment names a proxy or a certificate file that cannot be used.
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
        )
    except ValueError as error:
        raise Unusable(f"attentive: {error}") from None


def schemas(settings: Settings) -> SchemaSource | None:
    """Where schemas come from; None where all records have the one that the settings name.

    Raises:
        Unusable: the directory holds a file that is no schema, or the registry's settings are not taken.
    """
    chosen = settings.schemas
    if chosen.framing == "none":
        return None
    try:
        if chosen.directory is not None:
            return DirectorySchemas(chosen.directory)
        return RegistrySchemas(
            chosen.registry_url or "",
            chosen.registry_properties,
            dead_letter_topic=settings.kafka.dead_letter_topic,
        )
    except ValueError as error:
        raise Unusable(f"schemas: {error}") from None


def dead_letters(
    settings: Settings, who: WorkerIdentity, source: SchemaSource | None, log: FilteringBoundLogger
) -> DeadLetters:
    """The producer of dead letters, framed as the input is."""
    schema = cast("Mapping[str, object]", parse_schema(bundled("dead_letter")))  # a record's is a dict

    def write(letter: Letter, max_bytes: int) -> Encoded:
        schema_id = None if source is None else source.dead_letter_schema_id()
        return encode(letter, worker=who, schema=schema, schema_id=schema_id, max_bytes=max_bytes)

    return DeadLetters(kafka_properties(settings), settings.kafka.dead_letter_topic, write, log)


def _schema_file(path: Path | None) -> object | None:
    if path is None:
        return None
    try:
        schema: object = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Unusable(f"schema {path}: {error.strerror}") from None
    except ValueError as error:
        raise Unusable(f"schema {path}: not JSON: {error}") from None
    return schema
