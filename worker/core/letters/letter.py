"""Makes dead letters: from an entry, from a record, from a refusal of preflight."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof
from typing import Final

from worker.core.avro.framing import OTHER_HEADERS, SCHEMA_HEADERS
from worker.core.letters.values import TEXT_MAX_BYTES, Json, compact
from worker.core.model import Answer, Event, Headers, Letter, LostAttribute, Now, Reason, Record, Refusal, Reply, Source
from worker.core.trace import TRACE_HEADERS, small_headers, trace_context
from worker.core.waiting.entry import Entry

REQUEST_ID_MAX_BYTES: Final = 256
LETTER_BYTES: Final = 900  # a letter without what varies in size, and what the outbox and the ledger keep about it
_SOURCE_BYTES: Final = 150
_LOST_BYTES: Final = 130
_SOURCE_PREFIX = "source."
_OF_SOURCE = {_SOURCE_PREFIX + name: name for name in SCHEMA_HEADERS}
_USED = TRACE_HEADERS | SCHEMA_HEADERS | OTHER_HEADERS | _OF_SOURCE.keys()


def letter_of_entry(entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now) -> Letter:
    """A letter with the named attributes of an entry, and the reply that ended their delivery."""
    _, newest = entry.newest()[names[-1]]
    return Letter(
        reason=reason,
        detail=detail,
        failed_at_ms=now.wall_ms,
        attempts=entry.trial.calls,
        sources=entry.sources(names),
        user=entry.user,
        attributes=entry.lost(names),
        answer=_answer(reply),
        record_key=newest.record_key(entry.key),
        headers=newest.headers,
    )


def letter_of_record(record: Record, detail: str, now: Now) -> Letter:
    """A letter with a whole record that cannot be decoded."""
    return Letter(
        reason=Reason.UNDECODABLE,
        detail=detail,
        failed_at_ms=now.wall_ms,
        attempts=0,
        sources=(source_of(record, None),),
        user=None,
        attributes=(),
        record_key=record.key,
        record_value=record.value,
        headers=used_headers(record.headers),
    )


def letter_of_refusal(record: Record, event: Event, refusal: Refusal, now: Now) -> Letter:
    """A letter with the attributes of an event that preflight refused."""
    return Letter(
        reason=refusal.reason,
        detail=refusal.detail,
        failed_at_ms=now.wall_ms,
        attempts=0,
        sources=(source_of(record, event.event_id),),
        user=event.user,
        attributes=tuple(
            LostAttribute(name, compact(value), event.occurred_at_ms, record.partition, record.offset)
            for name, value in refusal.attributes.items()
        ),
        record_key=record.key,
        headers=trace_context(record.headers),
    )


def size_bytes(letter: Letter) -> int:
    """What a letter takes in memory, in bytes. Counts what two letters of one record share in each of them."""
    held: list[object] = [letter.detail, letter.record_key, letter.record_value]
    held += [source.event_id for source in letter.sources]
    size = LETTER_BYTES + len(letter.sources) * _SOURCE_BYTES + len(letter.attributes) * _LOST_BYTES
    if letter.answer is not None:
        held += [letter.answer.request_id, letter.answer.body]
    if letter.user is not None:
        user = letter.user
        held += [user.phone, user.email, user.client_user_id]
        size += user.custom_bytes
    for lost in letter.attributes:
        held += [lost.name, lost.value.text if isinstance(lost.value, Json) else lost.value]
    for name, value in letter.headers:
        held += [name, value]
    return size + sum(map(getsizeof, held))


def source_of(record: Record, event_id: str | None) -> Source:
    """Where a change came from."""
    return Source(record.partition, record.offset, record.timestamp_ms, event_id)


def used_headers(headers: Headers) -> Headers:
    """The headers of a record that the worker uses: the trace context, and those that name a schema."""
    return small_headers(headers, _USED)


def headers_of_letter(headers: Headers) -> Headers:
    """The headers of a letter from those of its record.

    Those that name a schema get a prefix: else a reader of the letter would look for the letter's schema there.
    """
    named = small_headers(headers, SCHEMA_HEADERS)
    return trace_context(headers) + tuple((_SOURCE_PREFIX + name, value) for name, value in named)


def headers_of_record(headers: Headers) -> Headers:
    """The headers of a record from those of its letter."""
    named = small_headers(headers, frozenset(_OF_SOURCE))
    return trace_context(headers) + tuple((_OF_SOURCE[name], value) for name, value in named)


def _answer(reply: Reply) -> Answer | None:
    """The part of a reply that its letter is written with. A letter does not hold the rest: it may be 64 KiB."""
    if reply.status is None:
        return None
    request_id = None if reply.request_id is None else reply.request_id[:REQUEST_ID_MAX_BYTES]
    return Answer(reply.status, request_id, reply.body[:TEXT_MAX_BYTES])
