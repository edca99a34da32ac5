"""Confluent framing: a zero byte and a 4-byte schema id before the Avro bytes, or the schema's GUID in a header."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from uuid import UUID

from worker.core.avro.schema import Undecodable
from worker.core.counted import counted
from worker.core.model import Headers, SchemaId

HEADER_BYTES: Final = 5
SCHEMA_HEADERS: Final = frozenset({"__key_schema_id", "__value_schema_id"})
"""Headers that name the schema of a key or a value, which is not framed itself then."""
_APICURIO_HEADERS: Final = frozenset({"apicurio.value.globalId", "apicurio.value.contentId"})
OTHER_HEADERS: Final = _APICURIO_HEADERS | {"content-type"}
"""Headers of other registries: known only to name them."""
_MAGIC: Final = 0
_MAGIC_GUID: Final = 1
_GUID_BYTES: Final = 16
_MAGIC_GLUE: Final = 3
_GLUE_BYTES: Final = 18  # with a compression byte, 0 or 5, and a version's UUID
_APICURIO_BYTES: Final = 9
_NOT_READ: Final = "schema registry, which this worker does not read"
_AZURE: Final = re.compile(rb"\0{4}[0-9a-f]{32}")


class Framed(NamedTuple):
    """Which schema some bytes were written with, and where they begin behind its id. None: they name none."""

    schema_id: SchemaId | None
    start: int


def header(schema_id: int) -> bytes:
    """The bytes before a record of this schema."""
    return bytes([_MAGIC]) + schema_id.to_bytes(HEADER_BYTES - 1, "big")


def framed(data: bytes, headers: Headers, header_name: str) -> Framed:
    """The schema of a key or a value: by its header if that names one, else by its first bytes.

    Raises:
        Undecodable: Neither names one.
    """
    odd = False
    for name, given in headers:
        if name == header_name:
            schema_id = _of_header(given or b"")
            if schema_id is not None:
                return Framed(schema_id, 0)
            odd = True
    try:
        return Framed(schema_id_of(data), HEADER_BYTES)
    except Undecodable:
        if not odd:
            raise
        raise Undecodable(
            f"the header {header_name} holds neither a schema's id (magic byte 0) nor its GUID (magic byte 1)"
        ) from None


def schema_id_of(value: bytes) -> int:
    """The id of the schema that a framed record was written with.

    Raises:
        Undecodable: It is not framed so.
    """
    if len(value) < HEADER_BYTES or value[0] != _MAGIC:
        raise Undecodable(_fault(value))
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _of_header(given: bytes) -> SchemaId | None:
    if len(given) == 1 + _GUID_BYTES and given[0] == _MAGIC_GUID:
        return str(UUID(bytes=given[1:]))
    if len(given) == HEADER_BYTES and given[0] == _MAGIC:
        return int.from_bytes(given[1:], "big")
    return None


def _fault(value: bytes) -> str:
    if not value:
        return "the record is empty: no magic byte and schema id"
    if value[0] != _MAGIC:
        return "the first byte is not the magic byte 0 of Confluent framing (is it bare Avro, JSON or plain text?)"
    return f"{counted(len(value), 'byte')}: too few for the magic byte and a 4-byte schema id"


def other_framing(value: bytes, headers: Headers) -> str:
    """What else the value may be framed by, for people; empty if there is no guess.

    Ask only for a value that could not be read: a good one may look the same.
    """
    told = dict(headers)
    guesses = (
        ((told.get("content-type") or b"").startswith(b"avro/binary+"), f"its header is that of Azure's {_NOT_READ}"),
        (not _APICURIO_HEADERS.isdisjoint(told), f"its headers are those of Apicurio's {_NOT_READ}"),
        (
            len(value) >= _GLUE_BYTES and value[0] == _MAGIC_GLUE and value[1] in {0, 5},
            f"so frames AWS Glue's {_NOT_READ}",
        ),
        (_AZURE.match(value) is not None, f"so frames Azure's {_NOT_READ}"),
        (
            len(value) >= _APICURIO_BYTES and not any(value[:HEADER_BYTES]),
            "so frames Apicurio with ids of 8 bytes: let its serializer use 4, as Confluent's",
        ),
        (
            len(value) > _GUID_BYTES and value[0] == _MAGIC_GUID,
            "this may be a schema's GUID, which is read in the header __value_schema_id alone",
        ),
    )
    return next((text for fits, text in guesses if fits), "")
