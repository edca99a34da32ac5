"""When a range began, by its records: the partitions outside of it are read from then on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from worker.core.model import Partition
from worker.core.replay.scope import Offsets
from worker.kafka.range import Range, Span


def first_ms(
    ranges: Mapping[Partition, Offsets],
    open_range: Callable[[Mapping[Partition, Span]], Range],
    timeout_seconds: float = 30.0,
) -> int | None:
    """The lowest time of the ranges' first records, in milliseconds. None if there is no record in them.

    Raises:
        TimeoutError: The brokers do not bring these records in time.
        RangeFailed: A topic cannot be read.
    """
    times: dict[Partition, int] = {}
    deadline = time.monotonic() + timeout_seconds
    spans = {each: Span(of.start, of.stop) for each, of in ranges.items() if of.start < of.stop}
    if not spans:
        return None
    with open_range(spans) as reader:
        while any(each not in times for each in reader.unread):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the first records of the range did not come: {reader.problem or 'no answer'}")
            for record in reader.poll(0.1):
                times.setdefault(record.partition, record.timestamp_ms)
    return min(times.values(), default=None)
