"""What a record says, before any rule is applied: an event, or why there is none.

Reading changes no state, so a command that only explains records can use it as well:

    match read(record, decoder):
        case Event() as event: ...  # next: preflight
        case Unreadable(detail): ...  # a dead letter, `detail` is for people
        case PassedOver(): ...  # nothing to do
        case NeedsSchema(schema_id): ...  # ask the registry, `decoder.add(...)`, and read again
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from worker.core.events.decode import Decoder, SchemaMissing, Undecodable
from worker.core.events.plans import Sendable
from worker.core.model import Event, Record, SchemaId


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The record cannot be decoded. `detail` says why, without any value."""

    detail: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """The record says nothing about a user: it is a tombstone, or `ignore_when` or `ignore_when_null` ignores it."""

    tombstone: bool


@dataclass(frozen=True, slots=True)
class NeedsSchema:
    """The record's schema is not known yet."""

    schema_id: SchemaId


Content: TypeAlias = Event | Unreadable | PassedOver
"""What a record said, once its schema is known."""

Reading: TypeAlias = Content | NeedsSchema


def read(record: Record, decoder: Decoder) -> Reading:
    """What the record says, by a decoder that does not go on to preflight."""
    content = read_on(record, decoder)
    assert not isinstance(content, tuple)  # noqa: S101 - see above
    return content


def read_on(record: Record, decoder: Decoder) -> Reading | Sendable:
    """What the record says. By a decoder that goes on to preflight, what is sent, if nothing of it is refused."""
    if not record.value and decoder.is_tombstone(record):
        return PassedOver(tombstone=True)
    try:
        content = decoder.decode_on(record)
    except Undecodable as problem:
        return Unreadable(str(problem))
    except SchemaMissing as missing:
        return NeedsSchema(missing.schema_id)
    return PassedOver(tombstone=False) if content is None else content
