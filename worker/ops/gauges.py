"""Instruments that read the board at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from worker.core.model import Reason
from worker.core.totals import Totals
from worker.ops.board import Board
from worker.ops.status import PartitionStatus, State, Status

Read = Callable[[Status], Iterable[Observation]]

_PREFIX = "attribute_worker_"


def observe_board(meter: Meter, board: Board) -> None:
    """Creates all instruments whose values come from the board's status."""
    _observe_state(meter, board)
    _observe_totals(meter, board)
    _observe_partitions(meter, board)


def _callback(board: Board, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: read(board.status)


def _observe_state(meter: Meter, board: Board) -> None:
    def gauge(name: str, unit: str, description: str, read: Read) -> None:
        meter.create_observable_gauge(_PREFIX + name, [_callback(board, read)], unit, description)

    def plain(name: str, unit: str, description: str, value: Callable[[Status], float | None]) -> None:
        gauge(name, unit, description, lambda status: _known(value(status)))

    gauge("info", "", "Always 1; its labels say which worker this is.", _read_info)
    gauge("state", "", "1 for the state that the worker is in, 0 for the others.", _read_state)
    gauge("halted", "", "1 while calls or dead letters are held back, by reason; absent otherwise.", _read_halt)
    plain("ready", "", "1 while joined to the group and running or throttled.", lambda s: float(s.ready))
    plain("joined", "", "1 while a member of the consumer group.", lambda s: float(s.joined))
    plain("problem", "", "1 while Kafka or the schema registry has a problem.", lambda s: float(bool(s.problem)))
    plain("open_entries", "", "Users with changes not yet settled.", lambda s: s.open_entries)
    plain("calls_in_flight", "", "Requests without a reply yet.", lambda s: s.in_flight)
    plain("held", "By", "Memory of changes and dead letters not yet settled.", lambda s: s.held_bytes)
    plain("rate_limit", "", "Requests per second that the token allows.", lambda s: s.rate.limit)
    plain("rate_share", "", "Requests per second in this worker's share.", lambda s: s.rate.share)
    plain("rate_current", "", "Requests per second that the worker allows itself now.", lambda s: s.rate.current)
    plain("loop_idle", "s", "Time since the main loop last turned.", lambda _: board.seconds_since_turn)
    plain("state_since_timestamp", "s", "Unix time of the last change of state.", lambda _: _since(board))


def _since(board: Board) -> float:
    return board.latest[1].timestamp()


def _known(value: float | None) -> list[Observation]:
    return [] if value is None else [Observation(value)]


def _read_info(status: Status) -> Iterable[Observation]:
    # No `instance` label: Prometheus adds one to each target, and the two would collide.
    yield Observation(1, {"version": status.version, "group_id": status.group_id})


def _read_state(status: Status) -> Iterable[Observation]:
    for state in State:
        yield Observation(int(state is status.state), {"state": state.value})


def _read_halt(status: Status) -> Iterable[Observation]:
    if status.halt is not None:
        yield Observation(1, {"reason": status.halt.reason})


def _observe_totals(meter: Meter, board: Board) -> None:
    def counter(name: str, description: str, read: Callable[[Totals], Iterable[Observation]]) -> None:
        callback = _callback(board, lambda status: read(status.totals))
        meter.create_observable_counter(_PREFIX + name, [callback], "", description)

    def plain(name: str, description: str, value: Callable[[Totals], int]) -> None:
        counter(name, description, lambda totals: [Observation(value(totals))])

    plain("records", "Records read.", lambda t: t.records)
    plain("tombstones", "Records without a value, ignored.", lambda t: t.tombstones)
    plain("ignored_records", "Records without any effect.", lambda t: t.ignored)
    plain("changes", "Changes of users, each with any number of attributes.", lambda t: t.changes)
    plain("passed_over_attributes", "Attributes left out by a stated rule.", lambda t: t.passed_over)
    plain("calls", "Requests made, retries and probes included.", lambda t: t.calls)
    plain("calls_saved", "Requests that coalescing spared.", lambda t: t.calls_saved)
    plain("delivered_entries", "Entries delivered.", lambda t: t.delivered_entries)
    plain("retries", "Requests that repeated a failed one.", lambda t: t.retries)
    plain("shared_users", "Changes of users that several partitions hold, without an order.", lambda t: t.shared_users)
    counter("dead_letters", "Dead letters written, by reason.", _read_dead_letters)
    counter("replies", "Replies by HTTP status, or by the kind of failure.", _read_replies)


def _read_dead_letters(totals: Totals) -> Iterable[Observation]:
    # Every reason from the start, with 0: increase() does not see the first count of a series that begins at 1.
    for reason, count in (dict.fromkeys(Reason, 0) | dict(totals.dead_letters)).items():
        yield Observation(count, {"reason": str(reason)})


def _read_replies(totals: Totals) -> Iterable[Observation]:
    for status, count in totals.replies.items():
        yield Observation(count, {"status": status})


def _observe_partitions(meter: Meter, board: Board) -> None:
    def gauge(name: str, unit: str, description: str, value: Callable[[PartitionStatus], float | None]) -> None:
        def read(status: Status) -> Iterable[Observation]:
            for partition in status.partitions:
                number = value(partition)
                if number is not None:
                    labels = {"topic": partition.topic, "partition": str(partition.partition)}
                    yield Observation(number, labels)

        meter.create_observable_gauge(f"{_PREFIX}partition_{name}", [_callback(board, read)], unit, description)

    gauge("position", "", "Offset of the next record to read.", lambda p: p.position)
    gauge("committed", "", "Committed offset.", lambda p: p.committed)
    gauge("end", "", "High watermark.", lambda p: p.end)
    gauge("lag", "", "Records between the committed offset and the end.", lambda p: p.lag)
    gauge("paused", "", "1 while paused, at the memory budget or for a schema.", lambda p: int(p.paused))
    gauge("oldest_undelivered", "s", "Age of the oldest record not settled.", lambda p: p.oldest_undelivered_seconds)
