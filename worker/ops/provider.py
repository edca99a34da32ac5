"""Where metrics come together: a registry for `/metrics`, and the readers that export them besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from prometheus_client import CollectorRegistry, ProcessCollector

from worker.ops.exporters import resource
from worker.ops.metrics import PREFIX
from worker.ops.variables import ignoring_unusable_variables

# The SDK's own limit is 2000 series a metric. Partitions beyond it would vanish from metrics and alerts without a word.
_SERIES_MAX: Final = 1_000_000


def registry_and_provider(
    version: str, instance: str, readers: Sequence[MetricReader]
) -> tuple[CollectorRegistry, MeterProvider]:
    """The registry also has the process's own metrics. OTEL_* variables that the SDK refuses are ignored."""
    return ignoring_unusable_variables(lambda: _made(version, instance, readers))


def _made(version: str, instance: str, readers: Sequence[MetricReader]) -> tuple[CollectorRegistry, MeterProvider]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    page = PrometheusMetricReader(
        # The scrape's labels and attribute_worker_info say the same, and have the documented prefix.
        disable_target_info=True,
        scope_info_enabled=False,
        registry=registry,
    )
    every = View(instrument_name=f"{PREFIX}*", aggregation_cardinality_limit=_SERIES_MAX)
    # `close` shuts it down. An exit hook would do so while threads may still record.
    provider = MeterProvider([page, *readers], resource(version, instance), shutdown_on_exit=False, views=[every])
    return registry, provider
