"""Avro records as a producer writes them."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro

from worker.core.model import Partition, Record

TOPIC = Partition("profile-changes", 0)
NOWHERE: dict[str, Any] = {
    "phone": "",
    "email": "",
    "client_user_id": "",
    "custom_identifiers": "",
    "occurred_at": "",
    "event_id": "",
}
"""A mapping of nothing but the attributes, to begin from."""


def body(schema: Any, datum: object) -> bytes:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """Bare Avro. The schema is copied, since fastavro marks what it has parsed."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(schema))), datum)
    return stream.getvalue()


def framed(schema_id: int, data: bytes) -> bytes:
    """Confluent framing."""
    return b"\0" + schema_id.to_bytes(4, "big") + data


def record(value: bytes | None) -> Record:
    """A record with this value."""
    return Record(TOPIC, 0, 0, None, value)


def varint(number: int) -> bytes:
    """An int or long as Avro writes it, of any size."""
    zigzag = number * 2 if number >= 0 else -number * 2 - 1
    data = b""
    while zigzag > 0x7F:
        data += bytes([zigzag & 0x7F | 0x80])
        zigzag >>= 7
    return data + bytes([zigzag])


def fields(*declared: tuple[str, Any], name: str = "Row", **extra: dict[str, Any]) -> dict[str, Any]:
    """A record schema of (name, type) fields; `extra` adds properties to the field of that name."""
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind, **extra.get(field, {})} for field, kind in declared],
    }
