"""The table of all metrics in docs/metrics.md (`scripts/metrics-table` writes it)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from worker import pages
from worker.ops.gauges import OBSERVED
from worker.ops.job_telemetry import JOB_METRICS
from worker.ops.metrics import Metric
from worker.ops.telemetry import RECORDED

METRICS = (*(observed.metric for observed in OBSERVED), *RECORDED)
_UNITS = {"s": "seconds", "By": "bytes", "": ""}


def with_tables(page: str) -> str:
    """The page with new tables between their markers: the worker's, and a job's; errors as `pages.with_table`."""
    page = pages.with_table(page, "metrics", _table([*map(_row, METRICS), *_process_rows()]))
    return pages.with_table(page, "job-metrics", _table(map(_row, JOB_METRICS)))


def _table(rows: Iterable[str]) -> str:
    head = ("| name | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |")
    return "\n".join((*head, *rows))


def _row(metric: Metric) -> str:
    labels = [
        f"`{label}`: {', '.join(map(str, values))}" if values else f"`{label}`"
        for label, values in metric.labels.items()
    ]
    cells = (f"`{metric.shown_name}`", metric.kind, _UNITS[metric.unit], "; ".join(labels), metric.meaning)
    return f"| {' | '.join(cells)} |"


def _process_rows() -> list[str]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    rows = []
    for family in sorted(registry.collect(), key=lambda family: family.name):
        name = family.samples[0].name
        unit = next((unit for unit in ("seconds", "bytes") if f"_{unit}" in name), "")
        rows.append(f"| `{name}` | {family.type} | {unit} |  | {family.documentation} |")
    return rows


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
