"""Which exporters the standard OTEL_* variables start, and that they reach a receiver."""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Mapping

import pytest

from tests.support.otlp import otlp_sink, plain
from worker.core.delivery.verdict import Verdict
from worker.core.facts import CallEnded
from worker.core.model import Partition, WorkerIdentity
from worker.core.trace import CallTrace, TraceLink
from worker.ops import exporters
from worker.ops.board import Board
from worker.ops.exporters import Exporters, ExporterUnusable
from worker.ops.status import Status
from worker.ops.telemetry import Telemetry
from worker.ops.traces import Traces

WHO = WorkerIdentity("1.2.3", "worker-0", "group")
BOTH = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "otlp"}
CALL = CallEnded(
    Verdict.DELIVERED, 200, None, 0.25, CallTrace(10_000, 2, 7, 1, (TraceLink(5, 6, 1, Partition("changes", 3), 41),))
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def named(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> Exporters:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return exporters.named(version=WHO.version, instance=WHO.instance)


def telemetry_of(found: Exporters) -> Telemetry:
    board = Board(Status.starting(version="1.2.3", instance="worker-0", group_id="group", rate_limit=150.0))
    return Telemetry(board, version=WHO.version, instance=WHO.instance, exporters=found)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "notaurl"},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": ""},
        {"OTEL_METRICS_EXPORTER": "prometheus"},
        {**BOTH, "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_no_exporter_is_started_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> None:
    before = threading.active_count()
    assert named(monkeypatch, variables) == Exporters()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: the worker knows otlp and none"),
        ({"OTEL_METRICS_EXPORTER": "otlp,console"}, "OTEL_METRICS_EXPORTER: the worker knows otlp and none"),
        (
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: the worker speaks http/protobuf",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: the worker speaks http/protobuf",
        ),
        *(
            ({"OTEL_TRACES_EXPORTER": "otlp", name: address}, f"{name}: not the URL of a collector")
            for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            for address in (
                "notaurl",
                "collector:4318",
                "grpc://collector:4317",
                "http://",
                "http://c:port",
                "http://[::1",
            )
        ),
    ],
)
def test_what_the_worker_cannot_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ExporterUnusable, match=f"^{message}"):
        named(monkeypatch, variables)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def absent(name: str, *rest: object) -> object:
        if name.startswith("opentelemetry.exporter.otlp"):
            raise ModuleNotFoundError(name=name)
        return there(name, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ExporterUnusable, match=r"OTEL_TRACES_EXPORTER=otlp: .*pip install '\.\[otlp\]'"):
        named(monkeypatch, {"OTEL_TRACES_EXPORTER": "otlp"})


def test_metrics_and_spans_reach_a_receiver_at_the_latest_when_the_worker_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with otlp_sink() as sink:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_SERVICE_NAME": "profiles",
        }
        found = named(monkeypatch, {**BOTH, **variables})
        assert found.tracing is not None
        telemetry = telemetry_of(found)
        Traces(found.tracing, telemetry, url="http://localhost:1/v1/attributes/custom", who=WHO).observe(CALL)
        telemetry.close()
        (span,) = sink.spans()
        assert plain(list(span.attributes))["server.port"] == 1
        assert span.links[0].trace_id == (5).to_bytes(16, "big")
        ended = sink.metrics()["attribute_worker_calls_ended"].sum
        assert {str(plain(list(point.attributes))["outcome"]): point.as_int for point in ended.data_points}[
            "delivered"
        ] == 1
        assert "attribute_worker_rate_limit" in sink.metrics()
        resource = sink.resource()
    assert resource["service.name"] == "profiles"
    assert resource["service.instance.id"] == "worker-0"
    assert resource["deployment.environment.name"] == "test"


def test_the_standard_sampler_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_sink() as sink:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.address, "OTEL_TRACES_SAMPLER": "always_off"}
        found = named(monkeypatch, {"OTEL_TRACES_EXPORTER": "otlp", **variables})
        assert found.tracing is not None
        telemetry = telemetry_of(found)
        Traces(found.tracing, telemetry, url="http://localhost:1/v1", who=WHO).observe(CALL)
        telemetry.close()
        assert sink.spans() == []


def test_a_last_export_that_does_not_end_delays_a_stop_only_a_little() -> None:
    """A receiver takes the connection and never answers, or one exporter raises: the others still get their turn."""
    answers, closed = threading.Event(), threading.Event()

    def broken() -> None:
        raise RuntimeError

    exporters.close_within(0.05, [answers.wait, broken, closed.set])
    assert not answers.is_set()
    assert closed.is_set()
    answers.set()
