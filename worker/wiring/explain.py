"""Builds the parts of `explain` from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.core.receipts.codec import ReceiptReader
from worker.jobs.explain import Books
from worker.jobs.framed import Framed
from worker.jobs.letters import Found
from worker.kafka.range import Range
from worker.kafka.topics import Admin, TopicRefused
from worker.registry.bundled import bundled
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.mending import letter_book, stopped_group
from worker.wiring.single_schemas import schema_of


def books(settings: Settings, stopped: Callable[[], bool], log: FilteringBoundLogger) -> Books:
    """Where the traces of a record are. It registers nothing.

    Raises:
        Unusable: The settings do not make its parts.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    admin = parts.admin(settings, log)
    properties, own = kafka_properties(settings), bundled("receipt")
    return Books(
        admin=admin,
        subscribed=tuple(settings.kafka.topics),
        letters=lambda since_ms: _letters(settings, since_ms, stopped, log),
        receipts=settings.receipts.topic,
        framed=Framed(ReceiptReader, own if settings.schemas.framing == "none" else None, schema_of(settings, own)),
        schema_of=schema_of(settings),
        decoder=parts.decoder(settings),
        preflight=parts.preflight(settings),
        open_range=lambda spans: Range(properties, spans, log),
        committed=lambda partition: _committed(settings, admin, partition, log),
        stopped=stopped,
    )


def _letters(
    settings: Settings, since_ms: int, stopped: Callable[[], bool], log: FilteringBoundLogger
) -> Iterable[Found]:
    try:
        return letter_book(settings, log, since_ms).letters(stopped)
    except TopicRefused:  # it does not exist yet
        return ()


def _committed(settings: Settings, admin: Admin, partition: Partition, log: FilteringBoundLogger) -> int | None:
    with stopped_group(settings, admin, log) as group:
        return group.committed([partition])[partition].offset
