"""The metrics, as Prometheus reads them over HTTP."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from worker.core.delivery.verdict import Verdict
from worker.core.facts import (
    Assigned,
    CallEnded,
    CommitEnded,
    DeletedUnread,
    Delivered,
    DrainEnded,
    DrainOutcome,
    Fact,
    LeaseEnd,
    LeaseRanOut,
    LetterFailed,
    PartitionsLost,
    Refused,
    Revoked,
)
from worker.core.model import Partition, Reason
from worker.core.totals import Totals
from worker.ops.answers import Answers
from worker.ops.board import Board
from worker.ops.exporters import Exporters
from worker.ops.job_telemetry import JOB_METRICS
from worker.ops.metrics import Kind
from worker.ops.metrics_table import METRICS, with_tables
from worker.ops.server import OpsServer
from worker.ops.status import Halt, PartitionStatus, Problem, Rate, State, Status
from worker.ops.telemetry import Telemetry
from worker.ops.variables import ignoring_unusable_variables

STARTING = Status.starting(version="1.2.3", instance="worker-0", group_id="group", rate_limit=150.0)
BUSY = replace(
    STARTING,
    state=State.HALTED,
    joined=True,
    halt=Halt("wrong_url", datetime(2026, 5, 4, tzinfo=UTC), "302 from the destination"),
    rate=Rate(150.0, 75.0, 10.0),
    open_entries=5,
    in_flight=2,
    held_bytes=4096,
    problems=(Problem.KAFKA,),
    held_bytes_max=8192,
    letters_withheld=3,
    partitions_subscribed=4,
    retention_seconds={"changes": 604_800.0},
    halted_seconds={"wrong_url": 12.5},
    calls_allowed=50.5,
    partitions=(
        PartitionStatus("changes", 0, 90, 80, 100, paused=True, oldest_undelivered_seconds=2.5),
        PartitionStatus("changes", 1, None, None, None, paused=False, oldest_undelivered_seconds=None),
    ),
    totals=Totals(
        records=100,
        tombstones=1,
        changes=300,
        passed_over=3,
        ignored=2,
        calls=40,
        calls_saved=60,
        delivered_entries=38,
        retries=2,
        shared_users=1,
        dead_letters=Counter({"rejected": 4}),
        replies=Counter({"200": 38, "400": 2, "timeout": 1}),
    ),
)
P0, P1 = Partition("changes", 0), Partition("changes", 1)


class Scraped:
    """One worker's telemetry and how to scrape it."""

    def __init__(self, board: Board, telemetry: Telemetry, address: tuple[str, int]) -> None:
        self.board = board
        self.telemetry = telemetry
        self.address = address

    def text(self, accept: str = "text/plain") -> tuple[str, str]:
        with closing(http.client.HTTPConnection(*self.address, timeout=10)) as connection:
            connection.request("GET", "/metrics", headers={"Accept": accept})
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode(), response.headers["Content-Type"]

    def families(self) -> dict[str, Metric]:
        return {family.name: family for family in text_string_to_metric_families(self.text()[0])}

    def value(self, name: str, **labels: str) -> float | None:
        for family in self.families().values():
            for sample in family.samples:
                if sample.name == f"attribute_worker_{name}" and sample.labels == labels:
                    return float(sample.value)
        return None


@pytest.fixture
def worker() -> Iterator[Scraped]:
    board = Board(STARTING)
    telemetry = Telemetry(board, version="1.2.3", instance="worker-0", exporters=Exporters())
    server = OpsServer("127.0.0.1", 0, answers=Answers(board, telemetry.registry))
    try:
        yield Scraped(board, telemetry, server.start())
    finally:
        server.close()
        telemetry.close()


def record_one_of_each(telemetry: Telemetry) -> None:
    telemetry.observe(CallEnded(Verdict.DELIVERED, 200, None, 0.2))
    telemetry.observe(Delivered(changes=3, calls=1, age_seconds=45.0))
    telemetry.observe(CommitEnded(0.01, ok=True))
    telemetry.observe(DrainEnded(DrainOutcome.CUT, 2.0, left=3))
    telemetry.observe(Assigned((P0, P1), held=2))
    telemetry.observe(DeletedUnread(P1, first=10, offsets=30))
    telemetry.observe(LeaseRanOut(LeaseEnd.LOOP_STOOD_STILL, 50.0, dropped=2))
    telemetry.observe(Refused(stepped_back=True))
    telemetry.observe(LetterFailed(Reason.REJECTED, "the topic is down"))


def own(families: Iterable[Metric]) -> list[Metric]:
    """Those of the worker, without those of its process."""
    return [family for family in families if family.name.startswith("attribute_worker_")]


def test_what_is_scraped_is_what_the_table_says(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    record_one_of_each(worker.telemetry)
    found = {}
    for family in own(worker.families().values()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    assert found == {metric.shown_name: (metric.kind.value, set(metric.labels), metric.meaning) for metric in METRICS}


def test_a_metric_has_a_unit_at_most_once_and_its_listed_labels_alone(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    record_one_of_each(worker.telemetry)
    suffixes = re.compile(r"_(seconds|bytes|ratio|total)(?=_|$)")
    closed = {metric.shown_name: metric.labels for metric in METRICS}
    for family in own(worker.families().values()):
        assert suffixes.findall(family.name) in ([], ["seconds"], ["bytes"]), family.name
        for sample in family.samples:
            for label, value in sample.labels.items():
                listed = closed.get(sample.name, {}).get(label)
                assert not listed or value in listed, sample


def test_a_closed_set_of_labels_has_a_series_for_each_value_before_anything_happens(worker: Scraped) -> None:
    """Else increase() would miss the first one, and a gauge that is absent looks like one that is not scraped."""
    found = {
        (sample.name, *sample.labels.items()) for family in worker.families().values() for sample in family.samples
    }
    for metric in METRICS:
        if metric.labels and metric.kind is not Kind.HISTOGRAM:
            missing = [labels for labels in metric.starts() if (metric.shown_name, *labels.items()) not in found]
            assert not missing, metric.shown_name


def test_the_table_in_the_documentation_is_what_the_code_says() -> None:
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "docs/metrics.md is old: run scripts/metrics-table"
    used = set(re.findall(r"attribute_worker_\w+", page)) - {metric.shown_name for metric in (*METRICS, *JOB_METRICS)}
    assert used == {"attribute_worker_call_duration_seconds_bucket"}


def test_a_page_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_tables("no table here")


def test_the_process_is_measured_too(worker: Scraped) -> None:
    families = worker.families()
    for name in ("process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"):
        assert families[name].samples[0].value > 0
    assert abs(families["process_start_time_seconds"].samples[0].value - time.time()) < 3600


def test_a_client_that_asks_for_openmetrics_gets_it(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    record_one_of_each(worker.telemetry)
    text, content_type = worker.text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = read_openmetrics(text)  # type: ignore[no-untyped-call]  # prometheus_client has no types here
    names = {family.name for family in families}
    assert "attribute_worker_calls" in names


def test_the_status_is_exported_even_before_any_fact(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    assert worker.value("info", version="1.2.3", group_id="group") == 1
    assert worker.value("state", state="halted") == 1
    assert worker.value("state", state="running") == 0
    assert worker.value("halted", reason="wrong_url") == 1
    assert worker.value("halted", reason="unauthorized") == 0
    assert worker.value("halted_time_seconds_total", reason="wrong_url") == 12.5
    assert worker.value("problem", kind="kafka") == 1
    assert worker.value("problem", kind="stuck") == 0
    assert worker.value("ready") == 0
    assert worker.value("held_bytes") == 4096
    assert worker.value("held_max_bytes") == 8192
    assert worker.value("calls_allowed_total") == 50.5
    assert worker.value("dead_letters_withheld") == 3
    assert worker.value("partitions_held") == 2
    assert worker.value("partitions_subscribed") == 4
    assert worker.value("topic_retention_seconds", topic="changes") == 604_800
    assert worker.value("rate_current") == 10
    assert worker.value("calls_total") == 40
    assert worker.value("calls_saved_total") == 60
    assert worker.value("replies_total", status="400") == 2
    assert worker.value("dead_letters_total", reason="rejected") == 4
    assert worker.value("partition_lag", topic="changes", partition="0") == 20
    assert worker.value("partition_oldest_undelivered_seconds", topic="changes", partition="0") == 2.5
    assert worker.value("partition_oldest_undelivered_seconds", topic="changes", partition="1") == 0
    assert worker.value("partition_lag", topic="changes", partition="1") is None


def test_a_halt_that_ended_is_0_and_a_partition_that_left_is_no_longer_held(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    assert worker.value("halted", reason="wrong_url") == 1
    worker.board.publish(replace(BUSY, state=State.RUNNING, halt=None, partitions=BUSY.partitions[1:]))
    assert worker.value("halted", reason="wrong_url") == 0
    assert worker.value("partition_paused", topic="changes", partition="0") is None
    assert worker.value("partitions_held") == 1
    assert worker.value("partition_paused", topic="changes", partition="1") == 0
    assert worker.value("ready") == 1


def test_no_partition_is_left_out_however_many_there_are(worker: Scraped) -> None:
    """The SDK's own limit is 2000 series a metric: it would put the others into one, and no alert would see them."""
    worker.telemetry.observe(Assigned(tuple(Partition("changes", number) for number in range(2100)), held=2100))
    series = worker.families()["attribute_worker_records_deleted_unread"].samples
    assert {sample.labels.get("partition") for sample in series} == {str(number) for number in range(2100)}


def test_facts_are_counted_in_the_right_buckets_and_series(worker: Scraped) -> None:
    record_one_of_each(worker.telemetry)
    assert worker.value("call_duration_seconds_bucket", outcome="delivered", le="0.1") == 0
    assert worker.value("call_duration_seconds_bucket", outcome="delivered", le="0.25") == 1
    assert worker.value("call_duration_seconds_bucket", outcome="delivered", le="30.0") == 1
    assert worker.value("delivery_age_seconds_bucket", le="30.0") == 0
    assert worker.value("delivery_age_seconds_bucket", le="60.0") == 1
    assert worker.value("delivery_age_seconds_bucket", le="86400.0") == 1
    assert worker.value("entry_changes_sum") == 3
    assert worker.value("calls_ended_total", outcome="delivered") == 1
    assert worker.value("calls_ended_total", outcome="retry") == 0
    assert worker.value("drain_duration_seconds_count", result="cut") == 1
    assert worker.value("drains_total", result="cut") == 1
    assert worker.value("rebalances_total", kind="assigned") == 1
    assert worker.value("lease_ends_total", reason="loop_stood_still") == 1
    assert worker.value("refused_attributes_total") == 1
    assert worker.value("dead_letter_failures_total", reason="rejected") == 1
    assert worker.value("records_deleted_unread_total", topic="changes", partition="1") == 30
    assert worker.value("records_deleted_unread_total", topic="changes", partition="0") == 0


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_the_page_is_the_same_with_an_exporter_and_without(accept: str) -> None:
    """With one, its histograms are the SDK's."""
    histograms = [metric.shown_name for metric in METRICS if metric.kind is Kind.HISTOGRAM]
    pages = []
    for readers in ((), (InMemoryMetricReader(),)):
        board = Board(BUSY)
        telemetry = Telemetry(board, version="1.2.3", instance="worker-0", exporters=Exporters(readers))
        for seconds in (0.0, 0.005, 0.0051, 0.2, 10.0, 30.0, 31.0):
            record_one_of_each(telemetry)
            telemetry.observe(CallEnded(Verdict.DELIVERED, 200, None, seconds))
            telemetry.observe(CallEnded(Verdict.REFUSED, 400, None, seconds))
            telemetry.observe(Delivered(changes=int(seconds) + 1, calls=1, age_seconds=seconds * 1000))
            telemetry.observe(DrainEnded(DrainOutcome.DONE, seconds, left=0))
        server = OpsServer("127.0.0.1", 0, answers=Answers(board, telemetry.registry))
        try:
            text, _ = Scraped(board, telemetry, server.start()).text(accept)
        finally:
            server.close()
            telemetry.close()
        pages.append(sorted(line for line in text.splitlines() if any(name in line for name in histograms)))
    assert len(pages[0]) > 60
    assert pages[0] == pages[1]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_call_of_every_verdict_is_counted(worker: Scraped, verdict: Verdict) -> None:
    worker.telemetry.observe(CallEnded(verdict, None, None, 0.2))
    counts = [
        sample.value
        for family in worker.families().values()
        for sample in family.samples
        if sample.name == "attribute_worker_call_duration_seconds_count"
    ]
    assert counts == [1]


@pytest.mark.parametrize(
    ("fact", "kind"), [(Revoked(1, 0, DrainOutcome.DONE, 0.1), "revoked"), (PartitionsLost(1, 0), "lost")]
)
def test_partitions_that_are_revoked_or_lost_count_as_a_rebalance(worker: Scraped, fact: Fact, kind: str) -> None:
    worker.telemetry.observe(fact)
    assert worker.value("rebalances_total", kind=kind) == 1


def test_concurrent_scrapes_each_get_every_metric_once(worker: Scraped) -> None:
    worker.board.publish(BUSY)
    pages: list[list[str]] = []

    def scrape() -> None:
        pages.extend([re.findall(r"^# TYPE (\S+)", worker.text()[0], re.MULTILINE) for _ in range(10)])

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pages) == 40
    for names in pages:
        assert len(names) == len(set(names)) > 30


def test_a_disabled_sdk_leaves_only_the_metrics_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    board = Board(BUSY)
    telemetry = Telemetry(board, version="1.2.3", instance="worker-0", exporters=Exporters())
    record_one_of_each(telemetry)
    server = OpsServer("127.0.0.1", 0, answers=Answers(board, telemetry.registry))
    try:
        assert own(Scraped(board, telemetry, server.start()).families().values()) == []
    finally:
        server.close()
        telemetry.close()


def test_an_exporter_named_in_the_environment_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "1")
    before = threading.active_count()
    telemetry = Telemetry(Board(STARTING), version="1.2.3", instance="worker-0", exporters=Exporters())
    assert threading.active_count() == before
    telemetry.close()


@pytest.mark.parametrize("value", ["all", "", "always_on,trace_based"])
def test_a_variable_that_the_sdk_does_not_take_is_named_and_ignored(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", value)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    with capture_logs() as lines:
        telemetry = Telemetry(Board(BUSY), version="1.2.3", instance="worker-0", exporters=Exporters())
    assert [(line["event"], line["variable"]) for line in lines] == [
        ("variable_ignored", "OTEL_METRICS_EXEMPLAR_FILTER")
    ]
    assert "attribute_worker_info" in {family.name for family in telemetry.registry.collect()}
    assert os.environ["OTEL_SERVICE_NAME"] == "mine"
    telemetry.close()


def test_without_a_variable_to_blame_the_error_is_the_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")

    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        ignoring_unusable_variables(broken)
    assert os.environ["OTEL_SERVICE_NAME"] == "mine"


def test_two_variables_that_the_sdk_does_not_take_are_both_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_A", "OTEL_B"):
        monkeypatch.setenv(name, "bad")

    def picky() -> int:
        if "OTEL_A" in os.environ or "OTEL_B" in os.environ:
            raise ValueError
        return 7

    with capture_logs() as lines:
        assert ignoring_unusable_variables(picky) == 7
    assert {"OTEL_A", "OTEL_B"} <= {line["variable"] for line in lines}
