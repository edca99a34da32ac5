"""Makes dead letters: from an entry, from a record, from a refusal of preflight."""

from __future__ import annotations

from collections.abc import Sequence

from worker.core.model import Answer, Event, Headers, Letter, LostAttribute, Now, Reason, Record, Refusal, Reply, Source
from worker.core.waiting.entry import Entry

_TRACE_CONTEXT = frozenset({"traceparent", "tracestate"})
_TRACE_BYTES_MAX = 512  # W3C Trace Context asks everyone to pass on at least this much


def letter_of_entry(entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now) -> Letter:
    """A letter with the named attributes of an entry, and the reply that ended their delivery."""
    newest = entry.attributes[names[-1]].change
    return Letter(
        reason=reason,
        detail=detail,
        failed_at_ms=now.wall_ms,
        attempts=entry.calls,
        sources=entry.sources(names),
        user=entry.user,
        attributes=tuple(entry.lost(name) for name in names),
        answer=None if reply.status is None else Answer(reply.status, reply.request_id, reply.body),
        record_key=newest.record_key,
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
        headers=trace_context(record.headers),
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
            LostAttribute(name, value, event.occurred_at_ms, record.partition.number, record.offset)
            for name, value in refusal.attributes.items()
        ),
        record_key=record.key,
        headers=trace_context(record.headers),
    )


def source_of(record: Record, event_id: str | None) -> Source:
    """Where a change came from."""
    return Source(record.partition, record.offset, record.timestamp_ms, event_id)


def trace_context(headers: Headers) -> Headers:
    """The trace headers that a dead letter passes on: each name once, and only if it is small.

    A header of a megabyte would fill the memory, and the topic would refuse the letter.
    """
    kept = {name: value for name, value in headers if name in _TRACE_CONTEXT}
    return tuple((name, value) for name, value in kept.items() if len(value or b"") <= _TRACE_BYTES_MAX)
