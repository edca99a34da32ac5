"""All telemetry, in one place: one function per event, and instruments that read the board.

What `Status` already counts costs nothing per event: observable instruments read it when `/metrics` is asked.
Only distributions (call time, age at delivery, ...) are recorded as they happen.

Instrument names carry no unit: the Prometheus exporter appends `_seconds`, `_bytes` and `_total`, and a name that
has one of them already would differ between it and any other OpenTelemetry exporter. Labels come from closed
sets, HTTP statuses and assigned partitions, never from an event.
"""

from __future__ import annotations

from typing import Literal

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from prometheus_client import CollectorRegistry

from worker.ops.board import Board
from worker.ops.gauges import observe_board

Outcome = Literal["delivered", "refused", "dead_letter", "retry", "halted", "aborted"]
"""What became of one call: see the table of replies."""

RebalanceKind = Literal["assigned", "revoked", "lost"]

_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)
_PAUSE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_CHANGES = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10000.0)


class Telemetry:
    """The meters of one worker. Every method may be called from any thread.

    No exporter is started: `registry` is what `/metrics` serves. With `OTEL_SDK_DISABLED=true` nothing is
    recorded and the registry is empty.

    Args:
        board: where the observable instruments read.
        version: the worker's version.
        instance: names this process among its replicas.
    """

    def __init__(self, board: Board, *, version: str, instance: str) -> None:
        self.registry = CollectorRegistry()
        resource = Resource.create(
            {SERVICE_NAME: "attribute-worker", SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance}
        )
        reader = PrometheusMetricReader(
            # The scrape's own labels and attribute_worker_info say the same, under the promised prefix.
            disable_target_info=True,
            scope_info_enabled=False,
            registry=self.registry,
        )
        # `close` ends it; an exit hook would run while threads may still record.
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("attribute_worker", version)
        observe_board(meter, board)
        self._call = meter.create_histogram(
            "attribute_worker_call_duration",
            unit="s",
            description="From sending a request to its reply or failure, by what became of the call.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )
        self._age = meter.create_histogram(
            "attribute_worker_delivery_age",
            unit="s",
            description="From the timestamp of an entry's oldest record to its delivery.",
            explicit_bucket_boundaries_advisory=_AGE_SECONDS,
        )
        self._changes = meter.create_histogram(
            "attribute_worker_entry_changes",
            description="Changes that one delivered entry held.",
            explicit_bucket_boundaries_advisory=_CHANGES,
        )
        self._commit = meter.create_histogram(
            "attribute_worker_commit_duration",
            unit="s",
            description="Time to commit offsets at a stop or a revoke, by whether it succeeded.",
            explicit_bucket_boundaries_advisory=_PAUSE_SECONDS,
        )
        self._drain = meter.create_histogram(
            "attribute_worker_drain_duration",
            unit="s",
            description="Time to flush and settle at a stop or a revoke, by whether everything was settled.",
            explicit_bucket_boundaries_advisory=_PAUSE_SECONDS,
        )
        self._rebalances = meter.create_counter(
            "attribute_worker_rebalances",
            description="Changes of the assignment, by kind.",
        )
        self._letter_failures = meter.create_counter(
            "attribute_worker_dead_letter_failures",
            description="Attempts to write a dead letter that failed; each is tried again.",
        )

    def call_finished(self, seconds: float, outcome: Outcome) -> None:
        """A request ended, with a reply or without."""
        self._call.record(seconds, {"outcome": outcome})

    def entry_delivered(self, changes: int, age_seconds: float) -> None:
        """An entry was delivered; its age is counted from its oldest record's timestamp until it was settled."""
        self._changes.record(changes)
        self._age.record(max(age_seconds, 0.0))

    def commit_finished(self, seconds: float, *, ok: bool) -> None:
        """A commit that was waited for, at a stop or a revoke, was answered or failed."""
        self._commit.record(seconds, {"result": "ok" if ok else "failed"})

    def drain_finished(self, seconds: float, *, complete: bool) -> None:
        """A drain ended; `complete` is false where its deadline cut it."""
        self._drain.record(seconds, {"result": "complete" if complete else "cut"})

    def rebalanced(self, kind: RebalanceKind) -> None:
        """Partitions were assigned, revoked or lost."""
        self._rebalances.add(1, {"kind": kind})

    def dead_letter_failed(self) -> None:
        """A dead letter could not be written this time."""
        self._letter_failures.add(1)

    def close(self) -> None:
        """Stop recording and empty the registry. What is recorded after is dropped."""
        self._provider.shutdown()
