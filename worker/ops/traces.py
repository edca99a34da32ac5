"""One span a call, with links to the spans of the records that its values came from.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP clients and for messaging. A span holds
no identifier and no value: the URL is the endpoint, which is the same for all calls.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, use_span
from opentelemetry.util.types import AttributeValue

from worker.core.facts import CallEnded, Delivered, Fact, Halted, Observer, Refused, Resumed, UnusualSuccess
from worker.core.model import WorkerIdentity
from worker.core.trace import CallTrace, TraceLink
from worker.ops.outcomes import OUTCOMES

LINKS_MAX: Final = 32
"""Bound of a span's links. A call may carry values of as many records as it has attributes."""

_METHOD: Final = "POST"
_ERRORS_FROM: Final = 400
_MS, _NS = 1_000_000, 1_000_000_000  # in nanoseconds; in a second
_CONSEQUENCES: Final = (Delivered, Refused, UnusualSuccess, Halted, Resumed)


class Traces:
    """Observes facts for other observers. While these observe a call and what follows from it, its span is current.

    So a log line about it has the span's ids, and a histogram the span as exemplar.
    """

    def __init__(self, provider: TracerProvider, observer: Observer, *, url: str, who: WorkerIdentity) -> None:
        """`url` is the endpoint that all calls go to, `observer` gets every fact."""
        self._tracer = provider.get_tracer("attribute_worker", who.version)
        self._observer = observer
        parts = urlsplit(url)
        self._name = f"{_METHOD} {parts.path}"
        self._every: dict[str, AttributeValue] = {
            http_attributes.HTTP_REQUEST_METHOD: _METHOD,
            url_attributes.URL_FULL: url,
            server_attributes.SERVER_ADDRESS: parts.hostname or "",
            server_attributes.SERVER_PORT: parts.port or (443 if parts.scheme == "https" else 80),
            # Those for messaging are not stable yet, so the library has no public names for them.
            "messaging.system": "kafka",
            "messaging.consumer.group.name": who.group_id,
        }
        self._span: Span | None = None

    def observe(self, fact: Fact) -> None:
        """Makes a span of a call that ended, and passes every fact on."""
        if isinstance(fact, CallEnded):
            self._span = None if fact.trace is None else self._record(fact, fact.trace)
        elif not isinstance(fact, _CONSEQUENCES):
            self._span = None
        if self._span is None:
            self._observer.observe(fact)
            return
        with use_span(self._span, record_exception=False, set_status_on_exception=False):
            self._observer.observe(fact)

    def _record(self, fact: CallEnded, trace: CallTrace) -> Span:
        ended = trace.ended_ms * _MS
        span = self._tracer.start_span(
            self._name,
            kind=SpanKind.CLIENT,
            attributes=self._every | _attributes(fact, trace),
            links=[_link(each) for each in trace.links],
            start_time=ended - int(fact.seconds * _NS),
        )
        if fact.status is None or fact.status >= _ERRORS_FROM:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)
        return span


def _attributes(fact: CallEnded, trace: CallTrace) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "messaging.batch.message_count": trace.changes,
        "attribute_worker.outcome": OUTCOMES[fact.verdict],
        "attribute_worker.attributes": trace.attributes,
    }
    if fact.status is not None:
        found[http_attributes.HTTP_RESPONSE_STATUS_CODE] = fact.status
    if fact.status is None or fact.status >= _ERRORS_FROM:
        found[error_attributes.ERROR_TYPE] = str(fact.status or fact.failure)
    if trace.attempt > 1:
        found[http_attributes.HTTP_REQUEST_RESEND_COUNT] = trace.attempt - 1
    return found


def _link(link: TraceLink) -> Link:
    flags = TraceFlags(link.flags & TraceFlags.SAMPLED)
    context = SpanContext(link.trace_id, link.span_id, is_remote=True, trace_flags=flags)
    return Link(
        context,
        {
            "messaging.destination.name": link.partition.topic,
            "messaging.destination.partition.id": str(link.partition.number),
            "messaging.kafka.offset": link.offset,
        },
    )
