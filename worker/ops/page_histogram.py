"""A histogram that only `/metrics` shows. Three are recorded with every call, and an SDK's takes ten times as long."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate, chain

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily

from worker.ops.metrics import Metric


class _Series:
    """What was recorded with the same values of labels."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class PageHistogram:
    """Looks on the page as the SDK's instrument of the same metric does. One thread records, any thread may read."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], _Series] = {}
        registry.register(self)

    def record(self, amount: float, attributes: Mapping[str, str] | None = None) -> None:
        """Counts a value. `attributes` has each of the metric's labels, in their order; None if it has none."""
        values = () if attributes is None else tuple(attributes.values())
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = _Series(len(self._metric.buckets))
        series.counts[bisect_left(self._metric.buckets, amount)] += 1
        series.total += amount

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The registry asks for it at each scrape. Without any record there is nothing yet."""
        metric = self._metric
        family = HistogramMetricFamily(
            metric.shown_name, metric.meaning, labels=list(metric.labels), unit=metric.shown_unit
        )
        bounds = [str(bound) for bound in chain(metric.buckets, ["+Inf"])]
        for values, series in list(self._series.items()):
            buckets = list(zip(bounds, accumulate(series.counts), strict=True))
            family.add_metric(list(values), buckets, series.total)
        return [family] if family.samples else []
