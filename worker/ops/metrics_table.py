"""The table of all metrics in docs/metrics.md (`scripts/metrics-table` writes it)."""

from __future__ import annotations

import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from worker import pages
from worker.ops.gauges import OBSERVED
from worker.ops.metrics import Metric
from worker.ops.telemetry import RECORDED

METRICS = (*(observed.metric for observed in OBSERVED), *RECORDED)
_UNITS = {"s": "seconds", "By": "bytes", "": ""}


def metrics_table() -> str:
    """The Markdown table: the worker's own metrics, then the process's."""
    lines = ["| name | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(metric) for metric in METRICS]
    lines += _process_rows()
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with a new table between its markers; errors as `pages.with_table`."""
    return pages.with_table(page, "metrics", metrics_table())


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
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
