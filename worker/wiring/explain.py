"""Builds the parts of `explain` from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from worker.jobs.explain import Books, SchemaOf
from worker.jobs.spans import ASK_SECONDS
from worker.kafka.committed import committed
from worker.kafka.range import Range, RangeFailed
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient, explained
from worker.registry.directory import read_schema
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts


@contextmanager
def books(settings: Settings, stopped: Callable[[], bool], log: FilteringBoundLogger) -> Iterator[Books]:
    """Where the traces of a record are. It registers nothing.

    Raises:
        Unusable: The settings do not make its parts.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    kafka, properties = settings.kafka, kafka_properties(settings)
    with _schemas(settings) as schema_of:
        yield Books(
            admin=parts.admin(settings, log),
            subscribed=tuple(kafka.topics),
            letters=kafka.dead_letter_topic,
            receipts=settings.receipts.topic,
            letter_schema=bundled("dead_letter"),
            receipt_schema=bundled("receipt"),
            framed=settings.schemas.framing == "confluent",
            schema_of=schema_of,
            decoder=parts.decoder(settings),
            preflight=parts.preflight(settings),
            open_range=lambda spans: Range(properties, spans, log),
            committed=lambda partition: committed(properties, [partition], ASK_SECONDS, log)[partition],
            stopped=stopped,
        )


@contextmanager
def _schemas(settings: Settings) -> Iterator[SchemaOf]:
    directory = settings.schemas.directory
    if directory is not None:
        yield lambda schema_id: _of_directory(directory, schema_id)
    elif settings.schemas.registry_url is None:
        yield lambda _: None
    else:
        try:
            client = parts.registry_client(settings)
        except ValueError as error:
            raise parts.Unusable(f"schemas: {error}") from None
        with closing(client):
            yield lambda schema_id: _of_registry(client, schema_id)


def _of_directory(directory: Path, schema_id: int) -> object | None:
    path = directory / f"{schema_id}.avsc"
    try:
        return read_schema(path) if path.is_file() else None
    except ValueError as error:
        raise RangeFailed(f"schemas: {error}") from None


def _of_registry(client: RegistryClient, schema_id: int) -> object | None:
    try:
        return client.schema(schema_id)
    except Exception as error:  # noqa: BLE001 - whatever the client's HTTP library raises; its text may hold a password
        raise RangeFailed(f"schema {schema_id} at {client.where}: {explained(error)}") from None
