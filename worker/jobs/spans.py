"""Which offsets a job reads: from what was typed to a range of each partition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from worker.core.model import Partition
from worker.jobs.when import Edge, Unreadable, When
from worker.kafka import bounds
from worker.kafka.topics import Admin, partition_counts

ASK_SECONDS: Final = 10.0

Place: TypeAlias = When | Mapping[Partition, int]
"""A time or an end of the log, for all partitions; or an offset of each."""


@dataclass(frozen=True, slots=True)
class Reach:
    """One partition's part: offsets from `start` on, before `stop`.

    Attributes:
        start: never below `earliest`.
        stop: at most the end of the log when it was asked.
        earliest: the first offset that the log still has.
        shortened: records that were asked for are deleted, as far as can be known: the range begins at `earliest`.
    """

    start: int
    stop: int
    earliest: int
    shortened: bool = False


def chosen(
    admin: Admin, subscribed: Iterable[str], topics: Collection[str], partitions: Sequence[int]
) -> list[Partition]:
    """The partitions of the subscribed topics. Only those of `topics`, and those numbered `partitions`, if given.

    Raises:
        Unreadable: One of `topics` or `partitions` does not exist.
        TopicsUnavailable: As `partition_counts`.
    """
    counts = partition_counts(admin, subscribed, ASK_SECONDS)
    for topic in topics:
        if topic not in counts:
            raise Unreadable(f"{topic} is not among the topics of WORKER_KAFKA__TOPICS ({', '.join(sorted(counts))})")
    wanted = {topic: count for topic, count in counts.items() if not topics or topic in topics}
    for number in partitions:
        if not any(0 <= number < count for count in wanted.values()):
            raise Unreadable(f"there is no partition {number}: the highest is {max(wanted.values(), default=0) - 1}")
    return [
        Partition(topic, number)
        for topic, count in sorted(wanted.items())
        for number in range(count)
        if not partitions or number in partitions
    ]


def reach(admin: Admin, partitions: Collection[Partition], begin: Place, end: Place | None) -> dict[Partition, Reach]:
    """The range of each partition from `begin` to before `end` (None: the present end of its log).

    Partitions that an offset-wise `begin` does not name are out of range. A range may be empty.

    Raises:
        Unreadable: An offset lies behind the end of its log, or names none of `partitions`.
        TopicsUnavailable: The brokers do not answer.
    """
    for place in (begin, end):
        for partition in place if isinstance(place, Mapping) else ():
            if partition not in partitions:
                raise Unreadable(f"{partition.topic}/{partition.number} is no partition that this command reads")
    asked = [each for each in partitions if not isinstance(begin, Mapping) or each in begin]
    if not asked:
        return {}
    first, last = bounds.starts(admin, asked, ASK_SECONDS), bounds.ends(admin, asked, ASK_SECONDS)
    starts = _offsets(admin, asked, begin, first, last)
    stops = last if end is None else {**last, **_offsets(admin, asked, end, first, last)}
    found = {}
    for each in asked:
        start = max(starts[each], first[each])
        found[each] = Reach(
            start, max(start, stops[each]), first[each], _is_shortened(begin, starts[each], first[each])
        )
    return found


def _is_shortened(begin: Place, start: int, earliest: int) -> bool:
    """By a time one cannot know: if the log's first record is later, older ones may have been there."""
    if isinstance(begin, Edge):
        return False
    return start < earliest if isinstance(begin, Mapping) else 0 < earliest == start


def _offsets(
    admin: Admin,
    partitions: Collection[Partition],
    place: Place,
    first: Mapping[Partition, int],
    last: Mapping[Partition, int],
) -> Mapping[Partition, int]:
    match place:
        case Edge.EARLIEST:
            return first
        case Edge.LATEST:
            return last
        case int():
            found = bounds.at(admin, partitions, place, ASK_SECONDS)
            return {each: last[each] if offset is None else offset for each, offset in found.items()}
        case _:
            for each, offset in place.items():
                if each in last and offset > last[each]:
                    raise Unreadable(
                        f"{each.topic}/{each.number}:{offset} lies behind the log's end, which is {last[each]}"
                    )
            return place
