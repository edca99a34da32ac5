"""Builds the parts of the worker from its settings. No other module does; commands parse, wire and print."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from fastavro import parse_schema
from structlog.typing import FilteringBoundLogger

import worker as package
from worker import logs
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.backoff import full_jitter
from worker.core.delivery.rate import Rate
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.keys import KeyForm
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.letters.codec import Encoded, encode
from worker.core.model import Letter, Now, WorkerIdentity
from worker.core.options import Options
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.kafka.producer import DeadLetters
from worker.kafka.topics import Admin
from worker.live.ports import Schemas
from worker.ops.traces import LINKS_MAX
from worker.registry.bundled import bundled
from worker.registry.directory import DirectorySchemas, read_schema
from worker.settings.derived import held_seconds, kafka_properties
from worker.settings.model import Settings

USER_AGENT: Final = f"attentive-attribute-worker/{package.__version__}"


class Unusable(Exception):
    """The settings are valid, but a part cannot be built from them. The message says which one and why."""


def identity(settings: Settings) -> WorkerIdentity:
    """Names this process among the replicas."""
    return WorkerIdentity(package.__version__, logs.instance_name(), settings.kafka.group_id)


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
            key=KeyForm(schemas.key_framing, None if schemas.key_schema is None else read_schema(schemas.key_schema)),
            empty_is_tombstone=schemas.empty_values == "tombstone",
        )
    except ValueError as error:
        raise Unusable(f"schemas or mapping: {error}") from None


def identity_rules(settings: Settings) -> IdentityRules:
    """How users are named, and their identifiers compared."""
    return IdentityRules(**settings.identity.model_dump())


def preflight(settings: Settings) -> Preflight:
    """Checks an event before any call.

    Raises:
        Unusable: The rules do not accept a name pattern or the order.
    """
    try:
        return Preflight(
            identity_rules(settings),
            AttributeRules(**settings.attributes.model_dump()),
        )
    except ValueError as error:
        raise Unusable(f"identity or attributes: {error}") from None


def engine(
    settings: Settings,
    now: Now,
    *,
    traced: bool = False,
    rate: Rate | None = None,
    search_yields: bool = False,
    storms: bool = True,
) -> Engine:
    """The core, with the limits of the settings. If `traced`, its calls know the spans that they come from.

    Raises:
        Unusable: As `decoder` and `preflight`.
    """
    attentive = settings.attentive
    options = Options(
        window_seconds=held_seconds(settings),
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
        storms=storms,
        # A job sends what others may have written over, so it leaves nothing out.
        sparing_users_max=0 if search_yields else settings.sparing.users_max,
        sparing_seconds=settings.sparing.seconds,
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
    settings: Settings, bearer: Token, may_send: Callable[[], bool], *, write_by: Callable[[], float] = lambda: math.inf
) -> Senders:
    """Sends requests. Writes none while `may_send` is false, nor later than `write_by` said when it was submitted.

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
            write_by=write_by,
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
        from worker.wiring import registry  # noqa: PLC0415 - it takes long to load, and many a worker asks none

        return registry.source(settings)
    except ValueError as error:
        raise Unusable(f"schemas: {error}") from None


def schema_directory(directory: Path, unknown_id_seconds: float) -> DirectorySchemas:
    """The source of schemas that reads a directory; errors as `DirectorySchemas`."""
    return DirectorySchemas(directory, unknown_id_seconds)


def prove_schemas(settings: Settings) -> None:
    """Reads the folder, or the registry's settings, to refuse what is wrong with them; errors as `schemas`.

    Both are read again once the topics exist, which may be long after the start.
    """
    if settings.schemas.registry_url is None:
        schemas(settings)
        return
    try:
        from worker.wiring import registry  # noqa: PLC0415 - as above

        registry.client(settings).close()
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
