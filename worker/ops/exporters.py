"""The exporters that the standard OTEL_* variables name: none unless one is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from worker.ops.variables import ignoring_unusable_variables

CLOSE_SECONDS: Final = 3.0
"""How long a stop waits for the last export: a collector may be away."""

_PROTOCOL: Final = "http/protobuf"


class ExporterUnusable(Exception):
    """The environment names an exporter that this worker does not have. Says which variable, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Exporters:
    """Where metrics and spans go beside `/metrics`. Tests pass in readers and providers that keep all in memory.

    Attributes:
        readers: read the metrics.
        tracing: gets the spans. None: no span is made, and no trace context is read.
    """

    readers: tuple[MetricReader, ...] = ()
    tracing: TracerProvider | None = None


def resource(version: str, instance: str) -> Resource:
    """What tells this process among others. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over it."""
    ours = {SERVICE_NAME: "attribute-worker", SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def named(*, version: str, instance: str) -> Exporters:
    """The exporters that OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER name. They run in threads of their own.

    Raises:
        ExporterUnusable: See there.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Exporters()
    # The Prometheus page is always there, so naming it changes nothing.
    metrics, traces = _names_otlp("METRICS", {"prometheus"}), _names_otlp("TRACES", set())
    if not (metrics or traces):
        return Exporters()
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    except ImportError:
        named = "OTEL_METRICS_EXPORTER" if metrics else "OTEL_TRACES_EXPORTER"
        raise ExporterUnusable(f"{named}=otlp: the exporter is not installed: pip install '.[otlp]'") from None

    def make() -> Exporters:
        # `close` shuts it down. An exit hook would wait for an absent collector for half a minute.
        tracing = TracerProvider(resource=resource(version, instance), shutdown_on_exit=False) if traces else None
        if tracing is not None:
            tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return Exporters((PeriodicExportingMetricReader(OTLPMetricExporter()),) if metrics else (), tracing)

    return ignoring_unusable_variables(make)


def close_within(seconds: float, closing: Iterable[Callable[[], object]]) -> None:
    """Calls all of these, each of which may export for the last time. Returns after `seconds` at the latest."""

    def close(act: Callable[[], object]) -> None:
        with suppress(Exception):  # the SDK has no exception of its own for this, and there is nothing left to do
            act()

    threads = [Thread(target=close, args=(act,), name="telemetry-close", daemon=True) for act in closing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)


def _names_otlp(signal: str, harmless: set[str]) -> bool:
    """Whether the variable of this signal names OTLP.

    Raises:
        ExporterUnusable: See there.
    """
    variable = f"OTEL_{signal}_EXPORTER"
    named = {name.strip().lower() for name in os.environ.get(variable, "").split(",")} - {"", "none", *harmless}
    if not named:
        return False
    if named != {"otlp"}:
        raise ExporterUnusable(f"{variable}: the worker knows otlp and none")
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name, "").strip()
        if protocol == _PROTOCOL:
            break
        if protocol:
            raise ExporterUnusable(f"{name}: the worker speaks {_PROTOCOL}; send that to port 4318 of the collector")
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        address = os.environ.get(name, "").strip()
        if address and not _is_url(address):
            # Never the value: it may hold a password.
            raise ExporterUnusable(f"{name}: not the URL of a collector, such as http://collector:4318")
    return True


def _is_url(text: str) -> bool:
    """Whether the exporter can send to it. Else it would fail in silence: at each export, and nowhere else."""
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is none, or a bracket without its pair
        return False
