"""What a running worker tells a real Prometheus and an OTLP receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.end_to_end.conftest import Lab
from tests.rules.promql import ALERTS, TARGETS, by_grafana
from tests.support.absent import absent
from tests.support.java import Unavailable
from tests.support.otlp import otlp_sink, plain
from tests.support.processes import TOKEN, WorkerCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, changes, encode, phone
from tests.support.prometheus import Prometheus

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 20_261_128
TRACE_IDS = [0x0AF7651916CD43DD8448EB211C80319C + number for number in range(4)]
VALUE = "planted-value"

Scrape = Callable[[WorkerCommand], Prometheus]


@pytest.fixture
def scraped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scrape]:
    running: list[Prometheus] = []

    def start(worker: WorkerCommand) -> Prometheus:
        try:
            running.append(Prometheus(tmp_path / "prometheus", worker.url.removeprefix("http://")))
        except Unavailable as reason:
            absent(request.config, "REQUIRE_PROMETHEUS", "a real Prometheus", reason)
        return running[0]

    yield start
    for prometheus in running:
        prometheus.stop()


def blank(prometheus: Prometheus) -> list[str]:
    """The panels' targets without any series."""
    return [name for name, target in TARGETS.items() if not prometheus.query(by_grafana(target["expr"]))]


def firing(prometheus: Prometheus) -> list[str]:
    """The alerts that would fire if it stayed as it is now."""
    return [alert for alert, rule in ALERTS.items() if prometheus.query(rule["expr"])]


def test_prometheus_sees_deliveries_a_halt_and_its_end(lab: Lab, scraped: Scrape) -> None:
    made = list(changes(SEED, events=400, users=40))
    # Their timestamps are of now, so nothing is deleted.
    lab.broker.create_topic(lab.topic, 3, {"retention.ms": "86400000"})
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, {"WORKER_WINDOW__SECONDS": "0.5"})
    prometheus = scraped(worker)
    lab.produce(made)
    lab.until_committed(60)
    until(lambda: prometheus.value("attribute_worker_records_total") == 400, 60, "all records are counted")
    until(lambda: prometheus.value("sum(attribute_worker_partition_lag)") == 0, 30, "the lag is 0")
    assert prometheus.value("attribute_worker_partitions_held") == 3
    assert prometheus.value("attribute_worker_partitions_subscribed") == 3
    assert prometheus.query("attribute_worker_topic_retention_seconds") == {(("topic", lab.topic),): 86_400}
    assert prometheus.value("max(attribute_worker_partition_oldest_undelivered_seconds)") == 0
    delivered = prometheus.value('attribute_worker_calls_ended_total{outcome="delivered"}')
    assert delivered == prometheus.value("attribute_worker_calls_total") == sandbox.stats()["upserts"]
    assert prometheus.value("attribute_worker_calls_total + attribute_worker_calls_saved_total") == 400
    assert prometheus.value("attribute_worker_held_max_bytes / 1024 / 1024") == 256
    assert prometheus.value("sum(attribute_worker_halted)") == 0
    assert (prometheus.value("process_resident_memory_bytes") or 0) > 10_000_000
    until(lambda: blank(prometheus) == [], 30, "every panel of the dashboard shows something")
    assert firing(prometheus) == []

    sandbox.tokens("another")
    lab.produce([Change(phone(1), {"vip": True}, 1000)])
    halted = 'attribute_worker_halted{reason="unauthorized"}'
    until(lambda: prometheus.value(halted) == 1, 30, "the halt is seen")
    oldest = "max(attribute_worker_partition_oldest_undelivered_seconds)"
    until(lambda: (prometheus.value(oldest) or 0) > 1, 30, "the age of the oldest change grows")
    assert firing(prometheus) == ["AttributeWorkerHalted"]
    sandbox.tokens(TOKEN)
    until(lambda: prometheus.value(halted) == 0, 60, "the end of the halt is seen")
    assert (prometheus.value('attribute_worker_halted_time_seconds_total{reason="unauthorized"}') or 0) > 1
    assert worker.stop() == 0


def produce_traced(lab: Lab) -> None:
    """Four changes of one user, each with the trace context of its producer's span, and a fifth without any."""
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for number, trace_id in enumerate(TRACE_IDS):
        change = Change(phone(7), {f"attribute_{number}": VALUE}, number)
        context: dict[str, str | bytes | None] = {
            "traceparent": b"00-%032x-%016x-01" % (trace_id, number + 1),
            "tracestate": b"vendor=secret",
        }
        producer.produce(lab.topic, encode(change), phone(7).encode(), headers=context)
    producer.produce(lab.topic, encode(Change(phone(7), {"last": VALUE}, 4)), phone(7).encode())
    assert producer.flush(30) == 0


def test_a_receiver_gets_spans_that_link_to_the_producers_and_metrics_without_anybodys_data(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    with otlp_sink() as sink:
        worker = lab.worker(
            sandbox.base_url,
            {
                "WORKER_WINDOW__SECONDS": "2",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            },
        )
        until(lambda: worker.events("serving"), 60, "the worker serves: it has the exporter to load as well")
        worker.until_ready()
        sandbox.tokens("another")
        produce_traced(lab)
        until(lambda: worker.events("halted"), 30, "the halt")
        sandbox.tokens(TOKEN)
        lab.until_committed(60)
        until(lambda: status_of(sink.spans()) >= {200, 401}, 30, "both spans")
        until(lambda: "attribute_worker_calls_ended" in sink.metrics(), 30, "metrics")
        assert worker.stop() == 0
        spans, raw, resource = sink.spans(), b"".join(sink.raw), sink.resource()
    delivered = next(span for span in spans if 200 in plain(list(span.attributes)).values())
    assert [int.from_bytes(link.trace_id, "big") for link in delivered.links] == TRACE_IDS
    assert [plain(list(link.attributes))["messaging.kafka.offset"] for link in delivered.links] == [0, 1, 2, 3]
    assert delivered.kind == Span.SPAN_KIND_CLIENT
    attributes = plain(list(delivered.attributes))
    assert attributes["url.full"] == f"{sandbox.base_url}/attributes/custom"
    assert attributes["messaging.batch.message_count"] == 5
    assert resource["service.name"] == "attribute-worker"
    (halted,) = worker.events("halted")
    failed = {span.trace_id.hex(): span for span in spans if 401 in plain(list(span.attributes)).values()}
    assert failed[halted["trace_id"]].span_id.hex() == halted["span_id"]
    for secret in (VALUE, phone(7)[1:], TOKEN, "secret", "attribute_0"):
        assert secret.encode() not in raw, secret


def status_of(spans: list[Span]) -> set[object]:
    return {plain(list(span.attributes)).get("http.response.status_code") for span in spans}


def test_an_exporter_that_cannot_be_had_ends_the_worker_with_status_2(lab: Lab) -> None:
    extra = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    worker = lab.worker("http://127.0.0.1:1/v1", extra)
    assert worker.wait(30) == 2
    assert worker.events("stopped")[-1]["error"].startswith("OTEL_EXPORTER_OTLP_PROTOCOL")
