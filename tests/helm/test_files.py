"""The files that the chart carries: the script of `helm test`, and the alerts. Needs no Helm."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from helm.generate import CHART
from tests.support.java import free_port
from worker.ops.board import Board
from worker.ops.exporters import Exporters
from worker.ops.status import Halt, PartitionStatus, Status
from worker.ops.telemetry import Telemetry

ADDED_BY_SCRAPES = {"namespace", "job", "pod", "instance"}
RULES = sorted((CHART / "rules").glob("*.yaml"))


@contextmanager
def replica(status: int, answer: bytes) -> Iterator[int]:
    """A worker's /readyz on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def helm_test(port: int) -> subprocess.CompletedProcess[str]:
    script = (CHART / "ready.py").read_text()
    command = [sys.executable, "-c", script, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_test_passes_if_every_replica_is_ready() -> None:
    with replica(200, b'{"ready": true}') as port:
        done = helm_test(port)
    assert (done.returncode, done.stdout) == (0, '127.0.0.1 {"ready": true}\n')


def test_the_test_fails_and_prints_why_a_replica_is_not_ready() -> None:
    with replica(503, b'{"reason": "unauthorized"}') as port:
        done = helm_test(port)
    assert (done.returncode, done.stdout) == (1, '127.0.0.1 {"reason": "unauthorized"}\n')


def test_the_test_fails_if_nobody_answers() -> None:
    done = helm_test(free_port())
    assert done.returncode == 1
    assert "refused" in done.stdout


def metrics() -> dict[str, set[str]]:
    """Every metric that the worker serves, with its labels' names."""
    status = replace(
        Status.starting(version="1", instance="pod", group_id="group", rate_limit=150.0),
        halt=Halt("wrong_url", datetime(2026, 5, 4, tzinfo=UTC), "a redirect"),
        partitions=(PartitionStatus("changes", 0, 1, 1, 2, paused=False, oldest_undelivered_seconds=1.0),),
    )
    telemetry = Telemetry(Board(status), version="1", instance="pod", exporters=Exporters())
    try:
        families = list(telemetry.registry.collect())
    finally:
        telemetry.close()
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def unknown_names(expression: str, served: dict[str, set[str]]) -> set[str]:
    """Names of metrics and of labels in an expression that the worker does not serve."""
    named = set(re.findall(r"attribute_worker_\w+", expression))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    labels = set().union(*(served[name] for name in named & served.keys()))
    return (named - served.keys()) | (grouped - labels - ADDED_BY_SCRAPES)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_alerts_look_at_metrics_that_the_worker_serves(path: Path) -> None:
    served = metrics()
    alerts = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    assert alerts
    for alert in alerts:
        assert unknown_names(alert["expr"], served) == set(), alert["alert"]


def test_an_alert_on_a_metric_that_is_not_there_is_found() -> None:
    assert unknown_names("max by (reason) (attribute_worker_halt)", metrics()) == {"attribute_worker_halt", "reason"}
