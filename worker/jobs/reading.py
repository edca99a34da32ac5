"""Decoded records of a range, for jobs. It waits for a schema with everything: a later record may be the newer one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Self, TypeVar

from worker.core.events.decode import Decoder
from worker.core.events.plans import Sendable
from worker.core.events.reading import Content, NeedsSchema, read, read_on
from worker.core.model import Partition, Record, SchemaId
from worker.kafka.range import Range
from worker.live.ports import Schemas

_BUSY_SECONDS: Final = 0.01
Heard = TypeVar("Heard")


class Reading:
    """Reads a range through its schemas, in the order of each partition. A context manager: it closes the range.

    Args:
        reader: the range.
        decoder: gets the schemas as they come.
        schemas: None if all records have the one schema of the settings.

    Example:
        >>> with Reading(reader, decoder, schemas) as reading:
        ...     while reading.unread:
        ...         for record, content in reading.poll(0.1):
        ...             ...  # an Event, Unreadable or PassedOver
    """

    def __init__(self, reader: Range, decoder: Decoder, schemas: Schemas | None) -> None:
        self._reader = reader
        self._decoder = decoder
        self._schemas = schemas
        self._waiting: list[Record] = []  # as `Range.poll` returned them, without those that were returned here

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(*error)

    def poll(self, timeout_seconds: float) -> list[tuple[Record, Content]]:
        """What the next records say. Waits up to `timeout_seconds` for the first; errors as `Range.poll`."""
        return self._poll(timeout_seconds, read)

    def poll_on(self, timeout_seconds: float) -> list[tuple[Record, Content | Sendable]]:
        """As `poll`, by a decoder that goes on to preflight."""
        return self._poll(timeout_seconds, read_on)

    def _poll(
        self, timeout_seconds: float, read: Callable[[Record, Decoder], Heard | NeedsSchema]
    ) -> list[tuple[Record, Heard]]:
        if self._schemas is not None:
            for schema_id, schema in self._schemas.answers():
                self._decoder.add(schema_id, schema)
        if not self._waiting:
            self._waiting = self._reader.poll(timeout_seconds)
        decoder = self._decoder
        found: list[tuple[Record, Heard]] = []
        for record in self._waiting:
            content = read(record, decoder)
            if isinstance(content, NeedsSchema):
                self._ask(content.schema_id)
                break
            found.append((record, content))
        self._waiting = self._waiting[len(found) :]
        if self._waiting and not found:
            time.sleep(min(_BUSY_SECONDS, timeout_seconds))
        return found

    def pause(self, partitions: Collection[Partition]) -> None:
        """As `Range.pause`. What is here already is still returned."""
        self._reader.pause(partitions)

    @property
    def positions(self) -> Mapping[Partition, int]:
        """For each partition, the offset before which every record was returned."""
        positions = dict(self._reader.positions)
        for record in reversed(self._waiting):
            positions[record.partition] = record.offset
        return positions

    @property
    def unread(self) -> bool:
        """Whether something of the range was not returned yet."""
        return bool(self._waiting or self._reader.unread)

    @property
    def problem(self) -> str | None:
        """What it waits for, in words: a broker or a schema. None if all is well."""
        waiting = self._schemas.waiting() if self._schemas is not None and self._waiting else None
        return waiting or self._reader.problem

    def _ask(self, schema_id: SchemaId) -> None:
        if self._schemas is not None:  # with one schema for all records, none is ever missing
            self._schemas.request(schema_id)
