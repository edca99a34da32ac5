"""What a job shows of itself: its metrics, read in memory and over HTTP, and the exporters' last look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.facts import CallEnded, Halted, LetterWritten, Resumed
from worker.core.model import Reason, WorkerIdentity
from worker.ops import exporters
from worker.ops.exporters import Exporters
from worker.ops.job_board import JobBoard
from worker.ops.job_telemetry import JOB_METRICS, JobTelemetry
from worker.ops.metrics import Metric
from worker.ops.server import AddressUnavailableError
from worker.settings.load import load
from worker.settings.model import Settings
from worker.wiring.watch import stages, watched

WHO = WorkerIdentity("1.2.3", "job-0", "group")
LOG = structlog.get_logger()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "schemas").mkdir()
    variables = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "WORKER_SCHEMAS__DIRECTORY": str(tmp_path / "schemas"),
        "WORKER_ATTENTIVE__TOKEN": "tk",
        "WORKER_HTTP__HOST": "127.0.0.1",
    }
    return load(None, {}, variables).settings


class Watched:
    """A job's board, and its server's address."""

    def __init__(self, board: JobBoard, address: str) -> None:
        self.board = board
        self.address = address

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = httpx.get(f"{self.address}/metrics").raise_for_status().text
        return {
            (sample.name, tuple(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.series().get((f"attribute_worker_job_{name}", tuple(labels.items())))


@pytest.fixture
def job(settings: Settings) -> Iterator[Watched]:
    with capture_logs() as lines, watched(settings, WHO, JobBoard("replay", "fix"), 0, LOG) as board:
        (serving,) = [line for line in lines if line["event"] == "serving"]
        yield Watched(board, f"http://{serving['host']}:{serving['port']}")


def test_every_metric_is_served_with_its_labels_and_meaning(job: Watched) -> None:
    job.board.advance("reading", 1, 2)
    job.board.finish()
    text = httpx.get(f"{job.address}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    own = {name for name in families if name.startswith("attribute_worker_")}
    assert own == {metric.shown_name.removesuffix("_total") for metric in JOB_METRICS}
    for metric in JOB_METRICS:
        family = families[metric.shown_name.removesuffix("_total")]
        assert (family.documentation, family.type) == (metric.meaning, metric.kind.value)
        assert {label for sample in family.samples for label in sample.labels} == set(metric.labels)
        assert metric.shown_name.startswith("attribute_worker_job_")
    assert families["process_resident_memory_bytes"].samples[0].value > 0


def test_a_closed_set_of_labels_has_a_series_for_each_value_from_the_start(job: Watched) -> None:
    found = job.series()
    expected = {(metric.shown_name, tuple(labels.items())) for metric in closed() for labels in metric.starts()}
    assert expected <= found.keys()
    assert job.value("state", state="running") == 1
    assert job.value("ended_timestamp_seconds") is None


def closed() -> list[Metric]:
    return [metric for metric in JOB_METRICS if metric.labels and all(metric.labels.values())]


def test_the_progress_of_each_stage_is_seen(job: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    begin = stages(job.board)
    reading = begin("reading")
    reading.show(150, 200, "offsets")
    assert job.value("stage", stage="reading") == 1
    begin("sending").show(3, 90)
    assert (job.value("stage", stage="reading"), job.value("stage", stage="sending")) == (0, 1)
    assert (job.value("stage_done", stage="reading"), job.value("stage_size", stage="reading")) == (150, 200)
    assert (job.value("stage_done", stage="sending"), job.value("stage_size", stage="sending")) == (3, 90)
    assert capsys.readouterr().err == ""


def test_calls_letters_and_halts_are_counted(job: Watched) -> None:
    board = job.board
    for verdict in (Verdict.DELIVERED, Verdict.DELIVERED, Verdict.THROTTLED, Verdict.REFUSED):
        board.observe(CallEnded(verdict, 200, None, 0.1))
    board.observe(LetterWritten(Reason.REJECTED, (), 1, 0, None, None))
    board.observe(Halted(HaltReason.UNAUTHORIZED, "401"))
    assert job.value("calls_ended_total", outcome="delivered") == 2
    assert job.value("calls_ended_total", outcome="retry") == 1
    assert job.value("calls_ended_total", outcome="refused") == 1
    assert job.value("dead_letters_total", reason="rejected") == 1
    assert job.value("halted", reason="unauthorized") == 1
    board.observe(Resumed(HaltReason.UNAUTHORIZED, 3.0))
    assert job.value("halted", reason="unauthorized") == 0


def test_what_runs_and_since_when_is_told(job: Watched) -> None:
    assert job.value("info", command="replay", name="fix", version="1.2.3") == 1
    assert abs((job.value("started_timestamp_seconds") or 0) - time.time()) < 60
    assert httpx.get(f"{job.address}/livez").text == "ok\n"
    assert httpx.get(f"{job.address}/readyz").status_code == 404


@pytest.mark.parametrize(("finished", "state"), [(True, "finished"), (False, "stopped")])
def test_an_exporter_sees_how_it_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, finished: bool, state: str
) -> None:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(exporters, "named", lambda **_: Exporters((reader,)))
    shut_down = reader.shutdown
    seen = {}

    def last_look(timeout_millis: float = 0, **arguments: object) -> None:
        data = reader.get_metrics_data()
        assert data is not None
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            seen[metric.name] = {tuple((p.attributes or {}).values()): p for p in metric.data.data_points}
        shut_down(timeout_millis, **arguments)

    monkeypatch.setattr(reader, "shutdown", last_look)
    with watched(settings, WHO, JobBoard("verify", "verify"), None, LOG) as board:
        if finished:
            board.finish()
    assert seen["attribute_worker_job_state"][state,].value == 1  # type: ignore[union-attr]  # a gauge's point has one
    assert "attribute_worker_job_ended_timestamp" in seen


def test_nothing_is_served_or_collected_unless_asked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobTelemetry, "__init__", lambda *_, **__: pytest.fail("it collects"))
    with capture_logs() as lines, watched(settings, WHO, JobBoard("plan", "plan"), None, LOG):
        pass
    assert lines == []


def test_a_taken_port_names_the_option(settings: Settings, job: Watched) -> None:
    port = int(job.address.rpartition(":")[2])
    with (
        pytest.raises(AddressUnavailableError, match="set --metrics-port to a free port"),
        watched(settings, WHO, JobBoard("plan", "plan"), port, LOG),
    ):
        pytest.fail("it begins")
