"""Reads a span of the topic once, and plays all windows on it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.core.events.reading import Content, Unreadable
from worker.core.model import Checked, Event, Partition, Record, UserKey
from worker.core.rules.preflight import Preflight
from worker.core.waiting.change import Change, Shapes
from worker.core.waiting.ledger import Ledger
from worker.jobs.plan.distinct import Distinct
from worker.jobs.plan.figures import Figures, Replicas, WindowFigures
from worker.jobs.plan.lane import Arrival, Lane
from worker.jobs.plan.timeline import Timeline
from worker.jobs.reading import Reading
from worker.jobs.standstill import Watch, reading_stands_still
from worker.jobs.ticker import Stages, Ticker
from worker.kafka.range import Span

_POLL_SECONDS: Final = 0.1
_SKEWED: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What to plan for.

    Attributes:
        windows: in seconds.
        limit: calls a second of the token.
        max_bytes: a worker's memory budget.
        now_ms: no record counts as later than this, in milliseconds since the epoch.
    """

    windows: Sequence[float]
    limit: float
    max_bytes: int
    now_ms: int


class Plan:
    """The job.

    It holds a small object for each user that waits in a window, and at most `max_bytes` of the worker's own
    (larger) measure in each; a number for each second in which a call is due; and some changes of partitions that are
    read ahead of others (`timeline.BUFFERED_MAX`).

    Args:
        reading: the span, through its schemas.
        spans: the same span.
        preflight: says what of an event would be sent.
        wish: see there.
        stages: tell how far it is.

    Example:
        >>> plan = Plan(reading, spans, preflight, wish)
        >>> if plan.run(lambda: stop.requested):
        ...     plan.figures()
    """

    def __init__(
        self,
        reading: Reading,
        spans: Mapping[Partition, Span],
        preflight: Preflight,
        wish: Wish,
        stages: Stages = Ticker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reading = reading
        self._stages = stages
        self._stops = {partition: span.stop or 0 for partition, span in spans.items()}
        self._preflight = preflight
        self._wish = wish
        self._clock = clock
        self._timeline = Timeline(wish.now_ms)
        self._free = [Lane(seconds, math.inf, wish.max_bytes) for seconds in wish.windows]
        self._limited = [Lane(seconds, wish.limit, wish.max_bytes) for seconds in wish.windows]
        self._users = Distinct()
        self._shapes = Shapes()
        self._changes: Counter[Partition] = Counter()
        self._records = 0
        self._unreadable = 0
        self._first_ms: int | None = None
        self._last_ms = 0
        self.offsets = sum(span.stop - span.start for span in spans.values() if span.stop is not None)

    @property
    def left(self) -> int:
        """How many offsets are not read yet."""
        positions = self._reading.positions
        return sum(max(0, stop - positions[partition]) for partition, stop in self._stops.items())

    def run(self, stopped: Callable[[], bool]) -> bool:
        """Reads the span. False if `stopped` before its end.

        Raises:
            Unfinished: Nothing came for two minutes, though there is more.
            RangeFailed: As `Range.poll`.
        """
        ticker = self._stages("reading")
        watch = Watch(self._clock)
        while self._reading.unread and not stopped():
            self._turn()
            left = self.left
            if watch.is_stuck(left):
                raise reading_stands_still(self._reading.problem)
            ticker.show(self.offsets - left, self.offsets, self._reading.problem or "")
        ticker.end()
        if self._reading.unread:
            return False
        self._play(())
        for lane in (*self._free, *self._limited):
            lane.end()
        return True

    def figures(self) -> Figures:
        """What was found."""
        changes = sum(self._changes.values())
        span_seconds = 0.0 if self._first_ms is None else (self._last_ms - self._first_ms) / 1000
        windows = [
            WindowFigures.of(free, limited, changes=changes, span_seconds=span_seconds, limit=self._wish.limit)
            for free, limited in zip(self._free, self._limited, strict=True)
        ]
        return Figures(
            records=self._records,
            changes=changes,
            users=self._users.count,
            users_exact=self._users.exact,
            unreadable=self._unreadable,
            span_seconds=span_seconds,
            began_ms=self._first_ms,
            limit=self._wish.limit,
            windows=windows,
            replicas=self._replicas(),
        )

    def _turn(self) -> None:
        for record, content in self._reading.poll(_POLL_SECONDS):
            self._take(record, content)
        positions = self._reading.positions
        unread = [partition for partition, stop in self._stops.items() if positions[partition] < stop]
        self._play(unread)
        self._reading.pause(self._timeline.paused)

    def _play(self, unread: Sequence[Partition]) -> None:
        lanes = (*self._free, *self._limited)
        for arrival in self._timeline.ready(unread):
            for lane in lanes:
                lane.take(arrival)

    def _take(self, record: Record, content: Content) -> None:
        self._records += 1
        at_ms = min(record.timestamp_ms, self._wish.now_ms)
        self._first_ms = at_ms if self._first_ms is None else min(self._first_ms, at_ms)
        self._last_ms = max(self._last_ms, at_ms)
        if not isinstance(content, Event):
            self._unreadable += isinstance(content, Unreadable)
            return
        checked = self._preflight.check(content)
        if checked.key is None or not checked.accepted:
            return
        user = hash(checked.key)
        self._users.add(user)
        self._changes[record.partition] += 1
        size_bytes = self._size_bytes(record, content, checked, checked.key)
        self._timeline.add(record.partition, Arrival(record.timestamp_ms, user, size_bytes))

    def _size_bytes(self, record: Record, event: Event, checked: Checked, key: UserKey) -> int:
        """What a change takes in the worker's memory, at most: of equal values it keeps one."""
        values = checked.accepted
        names, ledger = self._shapes[tuple(values)], Ledger(record.partition)
        change = Change.of_record(
            ledger,
            record,
            key,
            names,
            values,
            occurred_at_ms=event.occurred_at_ms,
            event_id=event.event_id,
            sent=checked.sent,
        )
        return change.size_bytes

    def _replicas(self) -> Replicas:
        count, changes = len(self._stops), sum(self._changes.values())
        if not changes:
            return Replicas(count, "nothing was read that makes a call")
        advice = (
            f"one replica can use the whole limit of {self._wish.limit:g} calls a second; more replicas share it by "
            f"their partitions, and serve availability. More than {count} find no partition"
        )
        partition, most = self._changes.most_common(1)[0]
        if count > 1 and most * count > _SKEWED * changes:
            advice += (
                f". {partition.topic}/{partition.number} has {most / changes:.0%} of the changes, but with one "
                f"partition a replica only {1 / count:.0%} of the limit: use few replicas, or spread the keys"
            )
        return Replicas(count, advice)
