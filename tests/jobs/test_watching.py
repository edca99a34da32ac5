"""A replay is watched while it runs: by a real Prometheus, and by an OTLP receiver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.end_to_end.conftest import Lab
from tests.support.absent import absent
from tests.support.brokers import RunningBroker
from tests.support.java import Unavailable
from tests.support.otlp import otlp_sink, plain
from tests.support.processes import TOKEN, until
from tests.support.profiles import changes
from tests.support.prometheus import Prometheus

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_PORT = re.compile(r'"port": (\d+)')


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    lab.broker.create_topic(lab.topic, 2)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    yield lab
    lab.end()


def values(metrics: Mapping[str, Metric], name: str) -> dict[object, float]:
    """The value of each point of a metric, by its only label's."""
    metric = metrics[name]
    points = metric.gauge.data_points or metric.sum.data_points
    return {
        label: point.as_int or point.as_double for point in points for label in plain(list(point.attributes)).values()
    }


def test_a_replay_is_seen_to_halt_and_to_finish(lab: Lab, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made = list(changes(1, events=600, users=120))
    users = len({change.phone for change in made})
    lab.produce(made)
    sandbox = lab.sandbox()
    sandbox.tokens("another")
    with otlp_sink() as sink:
        exported = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address}
        static = {"WORKER_KAFKA__PROPERTIES": '{"group.instance.id": "pod"}'}  # as a job beside static members has it
        environment = lab.environment(sandbox.base_url, {**exported, **static, "WORKER_HTTP__HOST": "127.0.0.1"})
        job = lab.start(
            *("replay", "--from", "earliest", "--name", "fix", "--rate", "140", "--json", "--metrics-port", "0"),
            environment=environment,
        )
        until(lambda: _PORT.search(job.log.read_text()), 60, "it serves")
        found = _PORT.search(job.log.read_text())
        assert found is not None
        try:
            prometheus = Prometheus(tmp_path / "prometheus", f"127.0.0.1:{found[1]}")
        except Unavailable as reason:
            absent(request.config, "REQUIRE_PROMETHEUS", "a Prometheus", reason)
        try:
            halted = 'attribute_worker_job_halted{reason="unauthorized"}'
            until(lambda: prometheus.value(halted) == 1, 60, "the halt is seen")
            assert prometheus.value('attribute_worker_job_info{command="replay", name="fix"}') == 1
            assert prometheus.value('attribute_worker_job_state{state="running"}') == 1
            assert prometheus.query("attribute_worker_job_stage == 1") == {(("stage", "sending"),): 1}
            assert prometheus.query("attribute_worker_job_stage_done") == {
                (("stage", "reading"),): 600,
                (("stage", "sending"),): 0,
            }
            assert prometheus.value('attribute_worker_job_stage_size{stage="sending"}') == users
            assert (prometheus.value('attribute_worker_job_calls_ended_total{outcome="halted"}') or 0) >= 1
            assert prometheus.value("attribute_worker_job_ended_timestamp_seconds") is None
        finally:
            prometheus.stop()
        sandbox.tokens(TOKEN)
        assert job.wait(60) == 0, job.log.read_text()
        assert json.loads(job.output.read_text())["delivered"] == users
        last = sink.metrics()
        assert values(last, "attribute_worker_job_state") == {"running": 0, "finished": 1, "stopped": 0}
        assert values(last, "attribute_worker_job_calls_ended")["delivered"] == users
        assert "attribute_worker_job_ended_timestamp" in last

        verified = lab.command("verify", "--rate", "140", "--json", environment=environment)
        asked = json.loads(verified.output.read_text().splitlines()[-1])["users"]
        assert values(sink.metrics(), "attribute_worker_job_stage_done") == {"reading": 600, "asking": asked}
        assert values(sink.metrics(), "attribute_worker_job_calls_ended")["delivered"] == asked + 1  # one shows first
        assert values(sink.metrics(), "attribute_worker_job_state")["finished"] == 1
