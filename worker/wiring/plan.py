"""Builds the parts of `plan` from the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.jobs.plan.job import Plan, Wish
from worker.jobs.reading import Reading
from worker.kafka.range import Range, Span
from worker.ops.job_board import JobBoard
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.watch import stages


@contextmanager
def plan(
    settings: Settings, spans: Mapping[Partition, Span], wish: Wish, board: JobBoard, log: FilteringBoundLogger
) -> Iterator[Plan]:
    """The job, ready to run. Its connections are closed at the end. `board` shows how far it is.

    Raises:
        Unusable: The settings do not make its parts.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    decoder, preflight = parts.decoder(settings), parts.preflight(settings)
    schemas = parts.schemas(settings)
    try:
        with Range(kafka_properties(settings), spans, log) as reader:
            yield Plan(Reading(reader, decoder, schemas), spans, preflight, wish, stages(board))
    finally:
        if schemas is not None:
            schemas.close()
