"""The trace context (W3C) of records, and what a span says of a call. Without tracing, nothing here is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from worker.core.model import Headers, Partition, Source

# Version ff is forbidden, and version 00 ends here. A later version may add fields.
_TRACEPARENT: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)

TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})
_HEADER_BYTES_MAX: Final = 512  # W3C Trace Context asks everyone to pass on at least this much


@dataclass(frozen=True, slots=True)
class TraceLink:
    """A producer's span, and where its record lies. Nothing else of the header is kept."""

    trace_id: int
    span_id: int
    flags: int
    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True)
class CallTrace:
    """What a span says of a call beyond its outcome.

    Attributes:
        ended_ms: when it ended, in milliseconds since the epoch.
        attributes: how many attributes it carried.
        changes: how many changes of the user its entry holds.
        attempt: the how many-th call this is for its entry, from 1.
        links: the spans that the records of its values came from, a bounded number of them.
    """

    ended_ms: int
    attributes: int
    changes: int
    attempt: int
    links: tuple[TraceLink, ...]


def trace_context(headers: Headers) -> Headers:
    """The trace headers that a dead letter passes on."""
    return small_headers(headers, TRACE_HEADERS)


def small_headers(headers: Headers, names: frozenset[str]) -> Headers:
    """The headers of these names: each name once, and only if it is small.

    A header of a megabyte would fill the memory, and the topic would refuse the letter.
    """
    if not headers:
        return ()
    kept = {name: value for name, value in headers if name in names}
    return tuple((name, value) for name, value in kept.items() if len(value or b"") <= _HEADER_BYTES_MAX)


def link_of(headers: Headers, source: Source) -> TraceLink | None:
    """The link to the span that a record's `traceparent` names. None without a valid one."""
    read = _TRACEPARENT.fullmatch(dict(headers).get("traceparent") or b"")
    if read is None or (read[1] == b"00" and read[5]):
        return None
    trace_id, span_id = int(read[2], 16), int(read[3], 16)
    if not trace_id or not span_id:
        return None
    return TraceLink(trace_id, span_id, int(read[4], 16), source.partition, source.offset)
