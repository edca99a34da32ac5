"""The changes in a topic, from a start to wherever it ends now: again and again, as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self, TypeAlias

from worker.core.events.reading import Unreadable
from worker.core.letters.letter import source_of
from worker.core.model import Checked, Event, Partition, Source
from worker.core.rules.preflight import Preflight
from worker.jobs.reading import Reading
from worker.jobs.standstill import Watch, reading_stands_still
from worker.jobs.ticker import Stages, Ticker

_POLL_SECONDS: Final = 0.1

Take: TypeAlias = Callable[[Event, Checked, Source], None]


class Topic:
    """Reads a topic, or several. A context manager: it keeps a consumer open.

    Args:
        starts: where to begin to read each partition.
        open_reading: opens a reading from these offsets on, without an end.
        ends: asks where the partitions end now.
        preflight: tells what of a record may be sent.
        stages: tell how far it is.

    Attributes:
        unreadable: how many records of the present pass cannot be decoded.

    Example:
        >>> with Topic(...) as topic:
        ...     topic.restart()
        ...     topic.read(take, lambda: False)  # to the present end
        ...     topic.read(take, lambda: False)  # what came meanwhile
    """

    def __init__(
        self,
        starts: Mapping[Partition, int],
        *,
        open_reading: Callable[[Mapping[Partition, int]], Reading],
        ends: Callable[[], Mapping[Partition, int]],
        preflight: Preflight,
        stages: Stages = Ticker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._starts = starts
        self._open_reading = open_reading
        self._ends = ends
        self._preflight = preflight
        self._stages = stages
        self._clock = clock
        self._stack = ExitStack()
        self._reading: Reading
        self.unreadable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def positions(self) -> Mapping[Partition, int]:
        """For each partition, the offset before which every record was taken."""
        return self._reading.positions

    def restart(self) -> None:
        """The next `read` begins at the starts."""
        self._stack.close()
        self._reading = self._stack.enter_context(self._open_reading(self._starts))
        self.unreadable = 0

    def read(self, take: Take, stopped: Callable[[], bool]) -> None:
        """Gives every change from where the last `read` ended to the present end. Ends early once `stopped`.

        Raises:
            Unfinished: Nothing came for two minutes, though the topic has more.
            RangeFailed: As `Range.poll`.
            TopicsUnavailable: The brokers do not say where the topic ends.
        """
        ends = self._ends()
        total = sum(max(0, end - self._starts[each]) for each, end in ends.items())
        ticker = self._stages("reading")
        watch = Watch(self._clock)
        while not stopped():
            positions = self._reading.positions
            left = sum(max(0, end - positions[each]) for each, end in ends.items())
            ticker.show(total - left, total, self._reading.problem or "")
            if not left:
                break
            if watch.is_stuck(left):
                raise reading_stands_still(self._reading.problem)
            for record, content in self._reading.poll(_POLL_SECONDS):
                if isinstance(content, Event):
                    take(content, self._preflight.check(content), source_of(record, None))
                else:
                    self.unreadable += isinstance(content, Unreadable)
        ticker.end()
