"""The alerts and the panels; what an expression names, compared with what the worker serves; and promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helm.dashboard import PATH
from tests.support.java import Unavailable
from worker.ops.job_telemetry import JOB_METRICS
from worker.ops.metrics import Kind
from worker.ops.metrics_table import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm/attribute-worker/rules/attribute-worker.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = {f"{panel['title']} {target['refId']}": target for panel in PANELS for target in panel["targets"]}
ADDED_BY_SCRAPES = {"namespace", "job", "pod", "instance"}
_SELECTED = re.compile(r"(attribute_worker_\w+)(?:\{([^}]*)\})?")
_MATCHED = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def served() -> dict[str, dict[str, tuple[str, ...]]]:
    """The labels of every metric, each with its values if they are a closed set."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for metric in (*METRICS, *JOB_METRICS):
        labels = {name: tuple(map(str, values)) for name, values in metric.labels.items()}
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.shown_name}_{part}": labels for part in ("sum", "count")}
            labels = {**labels, "le": ()}
        found[f"{metric.shown_name}_bucket" if metric.kind is Kind.HISTOGRAM else metric.shown_name] = labels
    return found


def unknown_names(expression: str) -> set[str]:
    """Names of metrics and labels, and values of labels, in an expression that the worker does not serve."""
    metrics, unknown, labels = served(), set(), set(ADDED_BY_SCRAPES)
    for name, matchers in _SELECTED.findall(expression):
        if name not in metrics:
            unknown.add(name)
            continue
        labels |= metrics[name].keys()
        for label, how, value in _MATCHED.findall(matchers):
            if label not in metrics[name].keys() | ADDED_BY_SCRAPES:
                unknown.add(label)
            elif how in {"=", "!="} and metrics[name].get(label) and value not in metrics[name][label]:
                unknown.add(value)
    grouped = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")} - {""}
    return unknown | (grouped - labels)


def by_grafana(expression: str) -> str:
    """What Grafana sends to Prometheus for a panel's expression, if the reader chose all workers."""
    return expression.replace("$namespace", ".*").replace("$job", ".*").replace("$__rate_interval", "1m")


@dataclass(frozen=True, slots=True)
class Promtool:
    """Debian's promtool, or any.

    Raises:
        Unavailable: this machine has none.
    """

    binary: str

    @classmethod
    def found(cls) -> Promtool:
        binary = shutil.which("promtool")
        if binary is None:
            raise Unavailable("there is no promtool on the PATH; on Debian and Ubuntu: apt-get install prometheus")
        return cls(binary)

    def test(self, path: Path) -> str:
        """Runs the tests in a file. What failed, or nothing."""
        return self._run("test", "rules", str(path))

    def check(self, path: Path) -> str:
        """What is wrong with a file of rules, or nothing."""
        return self._run("check", "rules", "--lint-fatal", str(path))

    def parse(self, expressions: list[str], directory: Path) -> str:
        """What is wrong with these expressions, or nothing."""
        rules = [{"record": f"expression:{number}", "expr": each} for number, each in enumerate(expressions)]
        path = directory / "expressions.yaml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
        return self._run("check", "rules", "--lint=none", str(path))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, check=False, timeout=60)
        return "" if done.returncode == 0 else done.stdout + done.stderr
