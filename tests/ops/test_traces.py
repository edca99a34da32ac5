"""Spans of calls, read in memory, and what is current while a call is observed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.trace import SpanKind, StatusCode

from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.facts import Assigned, CallEnded, CallMade, Fact, Halted
from worker.core.model import Failure, Partition, WorkerIdentity
from worker.core.trace import CallTrace, TraceLink
from worker.ops.board import Board
from worker.ops.exporters import Exporters
from worker.ops.status import Status
from worker.ops.telemetry import Telemetry
from worker.ops.traces import Traces

URL = "https://api.example.com/v1/attributes/custom"
WHO = WorkerIdentity("1.2.3", "worker-0", "group")
LINK = TraceLink(5, 6, 1, Partition("changes", 3), 41)
CALL = CallTrace(ended_ms=10_000, attributes=2, changes=7, attempt=1, links=(LINK,))
DELIVERED = CallEnded(Verdict.DELIVERED, 200, None, 0.25, CALL)


class Observed:
    """The facts that came, each with the span that was current."""

    def __init__(self) -> None:
        self.seen: list[tuple[Fact, int]] = []

    def observe(self, fact: Fact) -> None:
        self.seen.append((fact, trace.get_current_span().get_span_context().span_id))


class Traced:
    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.observed = Observed()
        provider = provider or TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = Traces(provider, self.observed, url=URL, who=WHO)

    def span(self, fact: Fact) -> ReadableSpan:
        self.traces.observe(fact)
        (span,) = self.exporter.get_finished_spans()
        return span


def test_a_call_is_a_client_span_by_the_conventions_for_http_and_messaging() -> None:
    span = Traced().span(DELIVERED)
    assert (span.name, span.kind, span.status.status_code) == (
        "POST /v1/attributes/custom",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": URL,
        "server.address": "api.example.com",
        "server.port": 443,
        messaging.MESSAGING_SYSTEM: messaging.MessagingSystemValues.KAFKA.value,
        messaging.MESSAGING_CONSUMER_GROUP_NAME: "group",
        messaging.MESSAGING_BATCH_MESSAGE_COUNT: 7,
        "attribute_worker.outcome": "delivered",
        "attribute_worker.attributes": 2,
    }
    assert (span.start_time, span.end_time) == (9_750_000_000, 10_000_000_000)


def test_it_links_to_the_producers_spans_with_the_records_position() -> None:
    (link,) = Traced().span(DELIVERED).links
    assert (link.context.trace_id, link.context.span_id, link.context.is_remote) == (5, 6, True)
    assert link.context.trace_flags.sampled
    assert link.attributes == {
        messaging.MESSAGING_DESTINATION_NAME: "changes",
        messaging.MESSAGING_DESTINATION_PARTITION_ID: "3",
        messaging.MESSAGING_KAFKA_OFFSET: 41,
    }


@pytest.mark.parametrize(
    ("fact", "error", "status"),
    [
        (CallEnded(Verdict.RETRY, 503, None, 0.1, replace(CALL, attempt=3)), "503", 503),
        (CallEnded(Verdict.REFUSED, 400, None, 0.1, replace(CALL, attempt=3)), "400", 400),
        (CallEnded(Verdict.RETRY, None, Failure.TIMEOUT, 0.1, replace(CALL, attempt=3)), "timeout", None),
    ],
)
def test_a_call_that_failed_says_how_and_the_how_manyth_repetition_it_was(
    fact: CallEnded, error: str, status: int | None
) -> None:
    span = Traced().span(fact)
    assert span.attributes is not None
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes.get("http.response.status_code")) == (error, status)
    assert span.attributes["http.request.resend_count"] == 2


def test_the_span_is_current_while_the_call_and_what_follows_from_it_are_observed() -> None:
    traced = Traced()
    halted = Halted(HaltReason.UNAUTHORIZED, "status 401")
    facts = (Assigned((), 0), CallEnded(Verdict.UNAUTHORIZED, 401, None, 0.1, CALL), halted, CallMade(1, probe=True))
    for fact in (*facts, halted):
        traced.traces.observe(fact)
    (span,) = traced.exporter.get_finished_spans()
    mine = span.get_span_context()
    assert mine is not None
    assert traced.observed.seen == list(zip((*facts, halted), (0, mine.span_id, mine.span_id, 0, 0), strict=True))


def test_a_sampler_decides_what_is_kept() -> None:
    traced = Traced(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    traced.traces.observe(DELIVERED)
    assert traced.exporter.get_finished_spans() == ()
    assert [fact for fact, _ in traced.observed.seen] == [DELIVERED]


def test_a_histogram_has_the_span_as_exemplar() -> None:
    reader = InMemoryMetricReader()
    board = Board(Status.starting(version="1", instance="a", group_id="g", rate_limit=1.0))
    telemetry = Telemetry(board, version="1", instance="a", exporters=Exporters((reader,)))
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Traces(provider, telemetry, url=URL, who=WHO).observe(DELIVERED)
    data = reader.get_metrics_data()
    assert data is not None
    points = [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "attribute_worker_call_duration"
        for point in metric.data.data_points
    ]
    assert isinstance(points[0], HistogramDataPoint)
    (span,) = exporter.get_finished_spans()
    mine = span.get_span_context()
    assert mine is not None
    assert [exemplar.span_id for exemplar in points[0].exemplars] == [mine.span_id]
    telemetry.close()
