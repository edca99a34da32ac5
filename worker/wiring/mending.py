"""Builds the parts of `rewind` and of `dead-letters` from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.jobs.letters import LetterBook, LetterDecoder
from worker.jobs.resolving import NotWritten, Resolving
from worker.jobs.spans import chosen, reach
from worker.jobs.when import Edge, When
from worker.kafka.range import Range, Span
from worker.kafka.stopped_group import StoppedGroup
from worker.kafka.topics import Admin
from worker.live.ports import Schemas
from worker.registry.bundled import bundled
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.single_schemas import schema_of

_REGISTERED_WITHIN_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.05


def stopped_group(settings: Settings, admin: Admin, log: FilteringBoundLogger) -> StoppedGroup:
    """The live group, from outside.

    Raises:
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    return StoppedGroup(kafka_properties(settings), admin, log)


def letter_book(settings: Settings, log: FilteringBoundLogger, since: When = Edge.EARLIEST) -> LetterBook:
    """The dead-letter topic up to its present end: what was written `since` then.

    Raises:
        PropertiesRefused: As above.
        TopicsUnavailable: The topic is missing or forbidden, or the brokers do not answer.
    """
    admin = parts.admin(settings, log)
    partitions = chosen(admin, [settings.kafka.dead_letter_topic], (), ())
    reaches = reach(admin, partitions, since, None)
    spans = {partition: Span(part.start, part.stop) for partition, part in reaches.items()}

    def open_range(read: Mapping[Partition, Span]) -> Range:
        return Range(kafka_properties(settings), read, log)

    own = bundled("dead_letter")
    decoder = LetterDecoder(own if settings.schemas.framing == "none" else None, schema_of(settings, own))
    return LetterBook(spans, open_range, decoder, settings.window.max_bytes)


@contextmanager
def resolving(settings: Settings, stopped: Callable[[], bool], log: FilteringBoundLogger) -> Iterator[Resolving]:
    """Writes what ends letters.

    Raises:
        Unusable: As `parts.schemas`.
        PropertiesRefused: As above.
        NotWritten: The registry does not take the schema of dead letters.
    """
    source = parts.schemas(settings)
    try:
        if source is not None:
            await_schema(source, stopped)
        producer = parts.dead_letters(settings, parts.identity(settings), source, log)
        yield Resolving(producer, lambda: time.time_ns() // 1_000_000, stopped)
    finally:
        if source is not None:
            source.close()


def await_schema(source: Schemas, stopped: Callable[[], bool]) -> None:
    """Waits until the id to frame letters with is known.

    Raises:
        NotWritten: The registry does not take the schema of dead letters in time.
    """
    deadline = time.monotonic() + _REGISTERED_WITHIN_SECONDS
    while source.dead_letter_schema_id() is None:
        if stopped() or time.monotonic() > deadline:
            raise NotWritten(source.waiting() or "the schema of dead letters is not registered yet")
        time.sleep(_PAUSE_SECONDS)
