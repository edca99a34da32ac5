"""Reads records of the worker's own topics, each with the schema that its framing names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from worker.core.avro import framing
from worker.core.avro.schema import InvalidSchema, Undecodable
from worker.core.model import SchemaId

_READERS_MAX: Final = 1_000

R = TypeVar("R")
SchemaOf = Callable[[SchemaId], object | None]
"""The schema of an id, as `json.loads` gives it. None if there is none. May raise Unfinished."""


class Framed(Generic[R]):
    """Gives the reader of a record.

    Args:
        make: makes a reader of a schema; may raise InvalidSchema.
        own: the schema of records without framing. None: they have the framing of Confluent.
        schema_of: where schemas of framed records come from.
    """

    def __init__(self, make: Callable[[object], R], own: object | None, schema_of: SchemaOf) -> None:
        self._make = make
        self._own = None if own is None else make(own)
        self._schema_of = schema_of
        self._readers: dict[int, R | None] = {}

    def reader(self, value: bytes) -> tuple[R, int]:
        """The reader of these bytes, and where their Avro begins.

        Raises:
            Undecodable: Their framing is bad, or their schema is unknown or none of these records.
            Unfinished: Nobody says what their schema is.
        """
        if self._own is not None:
            return self._own, 0
        schema_id = framing.schema_id_of(value)
        if schema_id not in self._readers:
            if len(self._readers) >= _READERS_MAX:  # garbage may name any id
                del self._readers[next(iter(self._readers))]
            self._readers[schema_id] = self._made(schema_id)
        reader = self._readers[schema_id]
        if reader is None:
            raise Undecodable("its schema id is unknown, or its schema is unusable")
        return reader, framing.HEADER_BYTES

    def _made(self, schema_id: int) -> R | None:
        schema = self._schema_of(schema_id)
        try:
            return None if schema is None else self._make(schema)
        except InvalidSchema:
            return None
