"""Builds the parts of `plan` from the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.jobs.plan.job import Plan, Wish
from worker.jobs.reading import Reading
from worker.kafka.range import Range, Span
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts


@contextmanager
def plan(settings: Settings, spans: Mapping[Partition, Span], wish: Wish, log: FilteringBoundLogger) -> Iterator[Plan]:
    """The job, ready to run. Its connections are closed at the end.

    Raises:
        Unusable: The settings do not make its parts.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    decoder, preflight = parts.decoder(settings), parts.preflight(settings)
    schemas = parts.schemas(settings)
    try:
        with Range(kafka_properties(settings), spans, log) as reader:
            yield Plan(Reading(reader, decoder, schemas), spans, preflight, wish)
    finally:
        if schemas is not None:
            schemas.close()
