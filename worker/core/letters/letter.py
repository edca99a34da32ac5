"""Makes dead letters: of an entry, of a record, of what preflight refused."""

from __future__ import annotations

from collections.abc import Sequence

from worker.core.model import Answer, Event, Headers, Letter, LostAttribute, Now, Reason, Record, Refusal, Reply, Source
from worker.core.waiting.entry import Entry

_TRACE_CONTEXT = frozenset({"traceparent", "tracestate"})
_TRACE_BYTES_MAX = 512  # W3C Trace Context asks to pass on at least so much


def letter_of_entry(entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now) -> Letter:
    """The named attributes of an entry, with the reply because of which they are given up."""
    newest = entry.items[names[-1]].change
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
    """A record that could not be decoded, whole."""
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
    """What preflight refused of an event."""
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
    """The headers that a dead letter passes on, so that a trace goes through it: each once, and only small ones.

    A header of a megabyte would fill the memory, and the topic would refuse the letter.
    """
    kept = {name: value for name, value in headers if name in _TRACE_CONTEXT}
    return tuple((name, value) for name, value in kept.items() if len(value or b"") <= _TRACE_BYTES_MAX)
