"""Confluent framing: a zero byte and a 4-byte schema id before the Avro bytes."""

from __future__ import annotations

from typing import Final

from worker.core.avro.schema import Undecodable

HEADER_BYTES: Final = 5
_MAGIC: Final = 0


def header(schema_id: int) -> bytes:
    """The bytes before a record of this schema."""
    return bytes([_MAGIC]) + schema_id.to_bytes(HEADER_BYTES - 1, "big")


def schema_id_of(value: bytes) -> int:
    """The id of the schema that a framed record was written with.

    Raises:
        Undecodable: It is not framed so.
    """
    if len(value) < HEADER_BYTES or value[0] != _MAGIC:
        raise Undecodable(_fault(value))
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _fault(value: bytes) -> str:
    if not value:
        return "the record is empty: no magic byte and schema id"
    if value[0] != _MAGIC:
        return "the first byte is not the magic byte 0 of Confluent framing (is it bare Avro, JSON or plain text?)"
    return f"{len(value)} bytes are too few for the magic byte and a 4-byte schema id"
