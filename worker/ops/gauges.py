"""Metrics whose values come from the board: they are read at each scrape, and cost nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from opentelemetry.metrics import Meter, Observation

from worker.core.delivery.gate import HaltReason
from worker.core.model import LOSSES
from worker.core.totals import Totals
from worker.ops.board import Board
from worker.ops.metrics import Kind, Metric
from worker.ops.status import PartitionStatus, Problem, State, Status

Read = Callable[[Board], Iterable[Observation]]


@dataclass(frozen=True, slots=True)
class Observed:
    """A metric, and how it is read."""

    metric: Metric
    read: Read


def observe_board(meter: Meter, board: Board) -> None:
    """Creates the instruments of all these metrics."""
    for observed in OBSERVED:
        observed.metric.observe(meter, partial(observed.read, board))


def _gauge(name: str, meaning: str, value: Callable[[Status], float | None], unit: str = "") -> Observed:
    return Observed(Metric(name, Kind.GAUGE, meaning, unit), lambda board: _known(value(board.status)))


def _total(name: str, meaning: str, value: Callable[[Totals], float]) -> Observed:
    return Observed(Metric(name, Kind.COUNTER, meaning), lambda board: _known(value(board.status.totals)))


def _labelled(metric: Metric, values: Callable[[Status], Mapping[str, float]]) -> Observed:
    """A metric with one label: 0 for each value of its closed set that `values` leaves out."""
    ((label, closed),) = metric.labels.items()

    def read(board: Board) -> Iterable[Observation]:
        found: dict[str, float] = {**dict.fromkeys(closed, 0.0), **values(board.status)}
        return [Observation(number, {label: str(value)}) for value, number in found.items()]

    return Observed(metric, read)


def _partition(name: str, meaning: str, value: Callable[[PartitionStatus], float | None], unit: str = "") -> Observed:
    def read(board: Board) -> Iterable[Observation]:
        for partition in board.status.partitions:
            labels = {"topic": partition.topic, "partition": str(partition.partition)}
            yield from _known(value(partition), labels)

    labels: dict[str, tuple[str, ...]] = {"topic": (), "partition": ()}
    return Observed(Metric(f"partition_{name}", Kind.GAUGE, meaning, unit, labels), read)


def _known(value: float | None, labels: Mapping[str, str] | None = None) -> list[Observation]:
    return [] if value is None else [Observation(value, labels)]


def _info(board: Board) -> Iterable[Observation]:
    # No `instance` label: Prometheus adds one to each target, and the two would collide.
    return [Observation(1, {"version": board.status.version, "group_id": board.status.group_id})]


def _halted(status: Status) -> Mapping[str, float]:
    return {} if status.halt is None else {status.halt.reason: 1}


_REASONS: Final = {"reason": tuple(HaltReason)}

_STATE: Final = (
    Observed(
        Metric("info", Kind.GAUGE, "Always 1; its labels say what runs.", labels={"version": (), "group_id": ()}), _info
    ),
    _labelled(
        Metric("state", Kind.GAUGE, "1 for the state that the worker is in.", labels={"state": tuple(State)}),
        lambda s: {s.state: 1},
    ),
    _labelled(
        Metric("halted", Kind.GAUGE, "1 while calls or dead letters are held back for this reason.", labels=_REASONS),
        _halted,
    ),
    _labelled(
        Metric("halted_time", Kind.COUNTER, "Time spent halted.", "s", _REASONS),
        lambda s: s.halted_seconds,
    ),
    _labelled(
        Metric("problem", Kind.GAUGE, "1 while this has a problem.", labels={"kind": tuple(Problem)}),
        lambda s: dict.fromkeys(s.problems, 1),
    ),
    _gauge("ready", "1 while joined to the group and running or throttled.", lambda s: float(s.ready)),
    _gauge("joined", "1 while a member of the consumer group.", lambda s: float(s.joined)),
    Observed(
        Metric("loop_idle", Kind.GAUGE, "Time since the main loop last turned.", "s"),
        lambda board: _known(board.seconds_since_turn),
    ),
    Observed(
        Metric("state_since_timestamp", Kind.GAUGE, "Unix time of the last change of state.", "s"),
        lambda board: _known(board.latest[1].timestamp()),
    ),
)

_WORK: Final = (
    _total("records", "Records read.", lambda t: t.records),
    _total("tombstones", "Records without a value, ignored.", lambda t: t.tombstones),
    _total("ignored_records", "Records without any effect.", lambda t: t.ignored),
    _total("changes", "Changes of users, each with any number of attributes.", lambda t: t.changes),
    _total("passed_over_attributes", "Attributes left out by a stated rule.", lambda t: t.passed_over),
    _total(
        "dropped_identifiers",
        "Invalid identifiers that named nobody, and were not sent.",
        lambda t: t.dropped_identifiers,
    ),
    _total("calls", "Requests made, retries and probes included.", lambda t: t.calls),
    _total("calls_saved", "Requests that coalescing or sparing saved.", lambda t: t.calls_saved),
    _total(
        "spared_changes", "Changes without a request of their own: every value unchanged.", lambda t: t.spared_changes
    ),
    _total("spared_values", "Values left out because the destination holds them.", lambda t: t.spared_values),
    _total(
        "delivered_entries", "Entries delivered: a user's changes since the last call.", lambda t: t.delivered_entries
    ),
    _total("retries", "Requests that repeat one that the destination failed or throttled.", lambda t: t.retries),
    _total(
        "shared_users", "Changes of users that several partitions hold, without an order.", lambda t: t.shared_users
    ),
    _labelled(
        Metric("replies", Kind.COUNTER, "Replies, by HTTP status or the kind of failure.", labels={"status": ()}),
        lambda s: s.totals.replies,
    ),
    _gauge("open_entries", "Entries not yet settled.", lambda s: s.open_entries),
    _gauge("calls_in_flight", "Requests without a reply yet.", lambda s: s.in_flight),
)

_LETTERS: Final = (
    _labelled(
        Metric("dead_letters", Kind.COUNTER, "Dead letters written.", labels={"reason": LOSSES}),
        lambda s: s.totals.dead_letters,
    ),
    _gauge(
        "dead_letters_withheld",
        "Dead letters of unusable records that wait for good records.",
        lambda s: s.letters_withheld,
    ),
)

_RECEIPTS: Final = _labelled(
    Metric("receipts", Kind.COUNTER, "Receipts of calls.", labels={"result": ("written", "lost")}),
    lambda s: {} if s.receipts is None else {"written": s.receipts.written, "lost": s.receipts.lost},
)

_LIMITS: Final = (
    _gauge("held", "Memory of what is not yet settled or is remembered.", lambda s: s.held_bytes, "By"),
    _gauge("held_max", "The memory budget: above it, partitions are paused.", lambda s: s.held_bytes_max, "By"),
    _gauge("remembered_users", "Users whose acknowledged values are remembered.", lambda s: s.remembered_users),
    _gauge("remembered", "Memory of these values, a part of what is held.", lambda s: s.remembered_bytes, "By"),
    _gauge("rate_limit", "Requests per second that the token allows.", lambda s: s.rate.limit),
    _gauge("rate_share", "Requests per second in this worker's share.", lambda s: s.rate.share),
    _gauge(
        "rate_current",
        "Requests per second that the worker allows itself now: 5 % below its share (2 % while it sees what is left of "
        "the second), less after a 429, and 0 while only single probes go (a halt) or nothing (Retry-After).",
        lambda s: s.rate.current,
    ),
    Observed(
        Metric(
            "calls_allowed",
            Kind.COUNTER,
            "Requests that the rate allowed. The rate of calls by that of this is its use.",
        ),
        lambda board: _known(board.status.calls_allowed),
    ),
)

_PARTITIONS: Final = (
    _gauge("partitions_held", "Partitions assigned to this worker; 0 without any.", lambda s: len(s.partitions)),
    _gauge(
        "partitions_subscribed",
        "Partitions of all subscribed topics, whoever holds them. Absent until they are counted.",
        lambda s: s.partitions_subscribed,
    ),
    _labelled(
        Metric(
            "topic_retention",
            Kind.GAUGE,
            "How long a subscribed topic keeps its records. Absent if it keeps all, or if the brokers do not tell.",
            "s",
            {"topic": ()},
        ),
        lambda s: s.retention_seconds,
    ),
    _partition("position", "Offset of the next record to read.", lambda p: p.position),
    _partition("committed", "Committed offset.", lambda p: p.committed),
    _partition("end", "High watermark.", lambda p: p.end),
    _partition("lag", "Records between the committed offset and the end.", lambda p: p.lag),
    _partition("paused", "1 while paused, at the memory budget or for a schema.", lambda p: int(p.paused)),
    _partition(
        "oldest_undelivered",
        "Age of the oldest record that was read and is not settled; 0 if there is none.",
        lambda p: p.oldest_undelivered_seconds or 0.0,
        "s",
    ),
)

OBSERVED: Final = (*_STATE, *_WORK, *_LETTERS, _RECEIPTS, *_LIMITS, *_PARTITIONS)
