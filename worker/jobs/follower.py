"""Reads the log for a replay or a redrive: from its start, then whatever comes, and where the log ends meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from worker.core.events.plans import Sendable
from worker.core.events.reading import Content, Unreadable
from worker.core.model import Event, Now, Partition, Record, Scalar, User
from worker.core.replay.said import Said
from worker.core.replay.scope import Scope
from worker.core.rules.preflight import Preflight
from worker.jobs.reading import Reading
from worker.kafka.bounds import Ends
from worker.live.ports import Clock


@dataclass(slots=True)
class Counts:
    """What lies in the range.

    Attributes:
        records: all of them.
        bytes: their keys and values.
        unreadable: records that cannot be decoded.
    """

    records: int = 0
    bytes: int = 0
    unreadable: int = 0

    def add(self, more: Counts) -> None:
        """The next of them."""
        self.records += more.records
        self.bytes += more.bytes
        self.unreadable += more.unreadable


class Follows(Protocol):
    """What is fed with the log: a `Replay`, or a `Redrive`."""

    def reread(self) -> bool:
        """Whether to begin to read from the start. True once for each pass."""

    def receive(self, saids: Sequence[Said], now: Now) -> None:
        """What the next records say, in the order of each partition."""

    def read(self, positions: Mapping[Partition, int]) -> None:
        """All records before these offsets were received."""

    def ends(self, ends: Mapping[Partition, int], asked_at: float) -> None:
        """The partitions end here, as of this instant."""

    @property
    def wants_ends(self) -> bool:
        """Whether to ask where the partitions end."""


class Follower:
    """Feeds a replay. A context manager: it keeps a consumer open.

    Args:
        replay: what it feeds.
        scope: the range.
        starts: where to begin to read each partition of the topics: at its range, before it, or outside of any.
        open_reading: opens a reading from these offsets on, without an end.
        ends: asks where the partitions end.

    Attributes:
        counts: of the range; complete after the first pass.
        passes: over the topic, begun so far.
    """

    def __init__(
        self,
        replay: Follows,
        scope: Scope,
        starts: Mapping[Partition, int],
        *,
        open_reading: Callable[[Mapping[Partition, int]], Reading],
        ends: Ends,
        preflight: Preflight,
        clock: Clock,
    ) -> None:
        self._replay = replay
        self._starts = starts
        self._open_reading = open_reading
        self._ends = ends
        self._preflight = preflight
        self._clock = clock
        self._stack = ExitStack()
        self._reading: Reading | None = None
        self._ranges = {each: of for each, of in scope.offsets.items() if of.start < of.stop}
        self._left: set[Partition] = set()  # the range is read first; these are not read to its end
        # Their reading begins before their range: what lies there may be later than the range elsewhere.
        self._around = {each for each, of in self._ranges.items() if starts[each] < of.start}
        self._positions = dict(starts)
        self.passes = 0
        self._known_ends: Mapping[Partition, int] = {}
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def turn(self, wait_seconds: float) -> bool:
        """Reads what is there; waits up to `wait_seconds` for the first record. Returns whether there were any.

        Errors as `Range.poll`.
        """
        reading = self._reading
        if self._replay.reread() or reading is None:
            reading = self._begin_pass()
        if self._replay.wants_ends:
            self._ends.ask(self._clock().mono)
        records = reading.poll_on(wait_seconds)
        now = self._clock()
        if self._left:
            if any(position > self._ranges[each].stop for each, position in reading.positions.items()):
                # What lies behind the range is read again afterwards.
                records = [each for each in records if each[0].offset < self._ranges[each[0].partition].stop]
        elif self._around:
            records = [each for each in records if not self._is_taken(each[0])]
        saids, counts = self._heard(records)
        if self._left and self.passes == 1:
            self.counts.add(counts)
        self._replay.receive(saids, now)
        self._advance(reading)
        self._replay.read(self._positions)
        if (answer := self._ends.answer()) is not None:
            self._known_ends = answer[0]
            self._replay.ends(*answer)
        return bool(records)

    def _begin_pass(self) -> Reading:
        """First the range alone: what a later record says counts for users that the range names in any partition."""
        self.passes += 1
        self._left = set(self._ranges)
        self._positions = dict(self._starts)
        return self._open({each: of.start for each, of in self._ranges.items()} or self._starts)

    def _open(self, starts: Mapping[Partition, int]) -> Reading:
        self._stack.close()
        self._reading = self._stack.enter_context(self._open_reading(starts))
        return self._reading

    def _advance(self, reading: Reading) -> None:
        """Notes how far it has read. Goes on behind the range, and beside it, once all of that is read."""
        if not self._left:
            self._positions = dict(reading.positions)
            return
        stops = {each: of.stop for each, of in self._ranges.items()}
        for each, position in reading.positions.items():
            self._positions[each] = min(position, stops[each])
        done = {each for each in self._left if self._positions[each] == stops[each]}
        reading.pause(done)
        self._left -= done
        if not self._left:
            self._positions |= {each: self._starts[each] for each in self._around}
            self._open(self._positions)

    def _is_taken(self, record: Record) -> bool:
        """Whether the record lies in a range that is read before what lies around it."""
        of = self._ranges.get(record.partition)
        return of is not None and of.start <= record.offset < of.stop

    @property
    def problem(self) -> str | None:
        """What it waits for, in words. None if all is well."""
        return (None if self._reading is None else self._reading.problem) or self._ends.problem

    @property
    def read(self) -> tuple[int, int]:
        """How many offsets are read in this pass, and of how many, as far as is known."""
        starts = self._starts
        positions = self._positions
        done = sum(positions[each] - start for each, start in starts.items())
        return done, max(done, sum(max(0, self._known_ends.get(each, 0) - start) for each, start in starts.items()))

    def _heard(self, records: Sequence[tuple[Record, Content | Sendable]]) -> tuple[list[Said], Counts]:
        """What of these records may be sent, and how many there are."""
        check, counts = self._preflight.check, Counts(len(records))
        found: list[Said] = []
        for record, content in records:
            size_bytes = len(record.key or b"") + len(record.value or b"")
            counts.bytes += size_bytes
            sent: User | None = None
            values: Mapping[str, Scalar]
            if isinstance(content, tuple):
                key, values, occurred_at_ms, event_id, _ = content
            elif not isinstance(content, Event):
                counts.unreadable += isinstance(content, Unreadable)
                continue
            elif (checked := check(content)).key is not None and checked.accepted:
                key, sent, values = checked.key, checked.sent, checked.accepted
                occurred_at_ms, event_id = content.occurred_at_ms, content.event_id
            else:
                continue
            found.append(
                Said(
                    key,
                    sent,
                    values,
                    record.partition,
                    record.offset,
                    record.timestamp_ms,
                    record.key,
                    record.headers,
                    occurred_at_ms,
                    event_id,
                    size_bytes,
                )
            )
        return found, counts
