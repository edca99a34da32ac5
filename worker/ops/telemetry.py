"""All metrics in one place: an observer of facts, and instruments that read the board.

Observable instruments read the counters in `Status` only when somebody asks `/metrics`, so these cost nothing per call.
Only distributions (call time, age at delivery, ...) and rare events are recorded as they happen.

Instrument names have no unit: the Prometheus exporter appends `_seconds`, `_bytes` and `_total`, and other exporters do
not. With a unit in the name, the two would differ. Label values come from closed sets, HTTP statuses and assigned
partitions, never from a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from prometheus_client import CollectorRegistry

from worker.core.delivery.verdict import Verdict
from worker.core.facts import (
    Assigned,
    CallEnded,
    CommitEnded,
    Delivered,
    DrainEnded,
    DrainOutcome,
    Fact,
    LetterFailed,
    PartitionsLost,
    Revoked,
)
from worker.ops.board import Board
from worker.ops.gauges import observe_board
from worker.ops.variables import ignoring_unusable_variables

Outcome = Literal["delivered", "refused", "dead_letter", "retry", "halted", "aborted"]
"""What became of one call: see the table of replies."""

_OUTCOMES: Final[Mapping[Verdict, Outcome]] = {
    Verdict.DELIVERED: "delivered",
    Verdict.REFUSED: "refused",
    Verdict.NOT_FOUND: "dead_letter",
    Verdict.UNEXPECTED: "dead_letter",
    Verdict.RETRY: "retry",
    Verdict.THROTTLED: "retry",
    Verdict.UNAUTHORIZED: "halted",
    Verdict.WRONG_URL: "halted",
    Verdict.ABORTED: "aborted",
}
_DRAINS: Final = {DrainOutcome.DONE: "complete", DrainOutcome.CUT: "cut", DrainOutcome.GONE: "gone"}

_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)
_PAUSE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_CHANGES = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10000.0)


class Telemetry:
    """One worker's metrics, as an observer of facts. Every method may be called from any thread.

    Starts no exporter: `/metrics` serves `registry`. With `OTEL_SDK_DISABLED=true` nothing is recorded, and the
    registry is empty.

    Args:
        board: what the observable instruments read.
        version: the worker's version.
        instance: names this process among its replicas.
    """

    def __init__(self, board: Board, *, version: str, instance: str) -> None:
        self.registry, self._provider = ignoring_unusable_variables(lambda: _registry_and_provider(version, instance))
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
            description="Time to flush and settle at a stop or a revoke, by how it ended.",
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

    def observe(self, fact: Fact) -> None:
        """Records the facts that the board's status does not count."""
        match fact:
            case CallEnded():
                self._call.record(fact.seconds, {"outcome": _OUTCOMES[fact.verdict]})
            case Delivered():
                self._changes.record(fact.changes)
                self._age.record(fact.age_seconds)
            case CommitEnded():
                self._commit.record(fact.seconds, {"result": "ok" if fact.ok else "failed"})
            case DrainEnded():
                self._drain.record(fact.seconds, {"result": _DRAINS[fact.outcome]})
            case Assigned():
                self._rebalances.add(1, {"kind": "assigned"})
            case Revoked():
                self._rebalances.add(1, {"kind": "revoked"})
            case PartitionsLost():
                self._rebalances.add(1, {"kind": "lost"})
            case LetterFailed():
                self._letter_failures.add(1)
            case _:
                pass

    def close(self) -> None:
        """Stops recording, and empties the registry. Drops whatever is recorded later."""
        self._provider.shutdown()


def _registry_and_provider(version: str, instance: str) -> tuple[CollectorRegistry, MeterProvider]:
    registry = CollectorRegistry()
    resource = Resource.create(
        {SERVICE_NAME: "attribute-worker", SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance}
    )
    reader = PrometheusMetricReader(
        # The scrape's labels and attribute_worker_info say the same, and have the documented prefix.
        disable_target_info=True,
        scope_info_enabled=False,
        registry=registry,
    )
    # `close` shuts it down. An exit hook would do so while threads may still record.
    return registry, MeterProvider([reader], resource, shutdown_on_exit=False)
