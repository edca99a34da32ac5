"""The worker's metrics: an observer of facts, beside the gauges that read the board.

What the board's status counts is read only when somebody asks `/metrics`, so it costs nothing per call. Only
distributions (call time, age at delivery, ...) and rare events are recorded as they happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.metrics import Histogram, NoOpMeter, Observation

from worker.core.facts import (
    Assigned,
    CallEnded,
    CallMade,
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
from worker.core.model import LOSSES
from worker.ops.board import Board
from worker.ops.exporters import CLOSE_SECONDS, Exporters, close_within
from worker.ops.gauges import observe_board
from worker.ops.metrics import Kind, Metric
from worker.ops.outcomes import OUTCOMES
from worker.ops.page_histogram import PageHistogram
from worker.ops.provider import registry_and_provider

_DRAINS: Final = {DrainOutcome.DONE: "complete", DrainOutcome.CUT: "cut", DrainOutcome.GONE: "gone"}

_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)
_PAUSE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_CHANGES = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10000.0)

_BY_OUTCOME: Final = {"outcome": tuple(dict.fromkeys(OUTCOMES.values()))}
_BY_RESULT: Final = {"result": tuple(_DRAINS.values())}
_CALL = Metric(
    "call_duration", Kind.HISTOGRAM, "From sending a request to its reply or failure.", "s", _BY_OUTCOME, _CALL_SECONDS
)
_CALLS_ENDED = Metric("calls_ended", Kind.COUNTER, "Requests that ended, by what became of them.", labels=_BY_OUTCOME)
_REFUSED = Metric("refused_attributes", Kind.COUNTER, "Values that the destination refused alone.")
_AGE = Metric(
    "delivery_age",
    Kind.HISTOGRAM,
    "From the timestamp of an entry's oldest record to its delivery.",
    "s",
    buckets=_AGE_SECONDS,
)
_ENTRY_CHANGES = Metric("entry_changes", Kind.HISTOGRAM, "Changes that one delivered entry held.", buckets=_CHANGES)
_COMMIT = Metric(
    "commit_duration",
    Kind.HISTOGRAM,
    "Time to commit offsets at a stop or a revoke.",
    "s",
    {"result": ("ok", "failed")},
    _PAUSE_SECONDS,
)
_DRAIN = Metric(
    "drain_duration", Kind.HISTOGRAM, "Time to flush and settle at a stop or a revoke.", "s", _BY_RESULT, _PAUSE_SECONDS
)
_DRAINS_ENDED = Metric(
    "drains", Kind.COUNTER, "Drains of a stop or a revoke. `cut` missed its deadline.", labels=_BY_RESULT
)
_REBALANCES = Metric(
    "rebalances", Kind.COUNTER, "Changes of the assignment.", labels={"kind": ("assigned", "revoked", "lost")}
)
_LEASE_ENDS = Metric(
    "lease_ends",
    Kind.COUNTER,
    "Times that the worker dropped its partitions because another one may own them.",
    labels={"reason": tuple(LeaseEnd)},
)
_DELETED = Metric(
    "records_deleted_unread",
    Kind.COUNTER,
    "Offsets that were deleted, by retention or somebody, before they were read: at most as many records.",
    labels={"topic": (), "partition": ()},
)
_LETTER_FAILURES = Metric(
    "dead_letter_failures",
    Kind.COUNTER,
    "Attempts to write a dead letter that failed; each is repeated.",
    labels={"reason": LOSSES},
)

RECORDED: Final = (
    *(_CALL, _CALLS_ENDED, _REFUSED, _AGE, _ENTRY_CHANGES),
    *(_COMMIT, _DRAIN, _DRAINS_ENDED, _REBALANCES, _LEASE_ENDS, _DELETED, _LETTER_FAILURES),
)
"""The metrics that are recorded as facts come. Those in `gauges.OBSERVED` are read from the board."""


class Telemetry:
    """One worker's metrics, as an observer of facts. Every method may be called from any thread.

    `/metrics` serves `registry`. With `OTEL_SDK_DISABLED=true` nothing is recorded, and the registry has only the
    process's own metrics.

    Args:
        board: what the observable instruments read.
        version: the worker's version.
        instance: names this process among its replicas.
        exporters: where metrics go besides. `close` closes them, that of spans too.

    Attributes:
        calls_ended: requests that ended, by what became of them.
    """

    def __init__(self, board: Board, *, version: str, instance: str, exporters: Exporters) -> None:
        self._tracing = exporters.tracing
        self.registry, self._provider = registry_and_provider(version, instance, exporters.readers)
        meter = self._provider.get_meter("attribute_worker", version)
        observe_board(meter, board)
        # An exporter gets what the SDK has recorded. With none, and with the SDK, only the page shows it.
        page_alone = not (exporters.readers or exporters.tracing or isinstance(meter, NoOpMeter))

        def histogram(metric: Metric) -> Histogram | PageHistogram:
            return PageHistogram(metric, self.registry) if page_alone else metric.histogram(meter)

        self._call = histogram(_CALL)
        # An instrument's `add` takes some microseconds, and this is counted with every call.
        self.calls_ended: dict[str, int] = dict.fromkeys(OUTCOMES.values(), 0)
        _CALLS_ENDED.observe(meter, self._read_calls_ended)
        self._refused = _REFUSED.counter(meter)
        self._age = histogram(_AGE)
        self._changes = histogram(_ENTRY_CHANGES)
        self._commit = histogram(_COMMIT)
        self._drain = histogram(_DRAIN)
        self._drains = _DRAINS_ENDED.counter(meter)
        self._rebalances = _REBALANCES.counter(meter)
        self._lease_ends = _LEASE_ENDS.counter(meter)
        self._letter_failures = _LETTER_FAILURES.counter(meter)
        self._deleted = _DELETED.counter(meter)

    def observe(self, fact: Fact) -> None:
        """Records the facts that the board's status does not count."""
        match fact:
            case CallEnded():
                outcome = OUTCOMES[fact.verdict]
                self._call.record(fact.seconds, {"outcome": outcome})
                self.calls_ended[outcome] += 1
            case Delivered():
                self._changes.record(fact.changes)
                self._age.record(fact.age_seconds)
            case CallMade():
                pass  # it counts when it has ended
            case Refused():
                self._refused.add(1)
            case LetterFailed():
                self._letter_failures.add(1, {"reason": fact.reason})
            case _:
                self._observe_partitions(fact)

    def _observe_partitions(self, fact: Fact) -> None:
        match fact:
            case CommitEnded():
                self._commit.record(fact.seconds, {"result": "ok" if fact.ok else "failed"})
            case DrainEnded():
                by_result = {"result": _DRAINS[fact.outcome]}
                self._drain.record(fact.seconds, by_result)
                self._drains.add(1, by_result)
            case Assigned():
                self._rebalances.add(1, {"kind": "assigned"})
                for topic, number in fact.partitions:
                    self._deleted.add(0, {"topic": topic, "partition": str(number)})
            case Revoked():
                self._rebalances.add(1, {"kind": "revoked"})
            case PartitionsLost():
                self._rebalances.add(1, {"kind": "lost"})
            case LeaseRanOut():
                self._lease_ends.add(1, {"reason": fact.why})
            case DeletedUnread():
                topic, number = fact.partition
                self._deleted.add(fact.offsets, {"topic": topic, "partition": str(number)})
            case _:
                pass

    def _read_calls_ended(self) -> Iterable[Observation]:
        return [Observation(count, {"outcome": outcome}) for outcome, count in self.calls_ended.items()]

    def close(self) -> None:
        """Exports for the last time, within `CLOSE_SECONDS`. Drops whatever is recorded later."""
        providers = (self._provider, self._tracing)
        close_within(CLOSE_SECONDS, [provider.shutdown for provider in providers if provider is not None])
