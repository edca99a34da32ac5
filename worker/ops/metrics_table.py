"""The table of all metrics in docs/metrics.md (`scripts/metrics-table` writes it)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from worker.ops.gauges import OBSERVED
from worker.ops.metrics import Metric
from worker.ops.telemetry import RECORDED

METRICS = (*(observed.metric for observed in OBSERVED), *RECORDED)
_BEGIN, _END = "<!-- metrics:begin -->", "<!-- metrics:end -->"
_UNITS = {"s": "seconds", "By": "bytes", "": ""}


def metrics_table() -> str:
    """The Markdown table: the worker's own metrics, then the process's."""
    lines = ["| name | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(metric) for metric in METRICS]
    lines += _process_rows()
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The text with a new table between its markers.

    Raises:
        ValueError: A marker is missing.
    """
    if _BEGIN not in page or _END not in page:
        raise ValueError(f"the markers {_BEGIN} and {_END} are missing")
    table = f"{_BEGIN}\n{metrics_table()}\n{_END}"
    return re.sub(f"{_BEGIN}.*{_END}", lambda _: table, page, flags=re.DOTALL)


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
