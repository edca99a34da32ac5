"""What people type for a time and for offsets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from worker.core.model import Partition

_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Edge(Enum):
    """An end of the log."""

    EARLIEST = "earliest"
    LATEST = "latest"


When: TypeAlias = Edge | int
"""An end of the log, or milliseconds since the epoch, never negative: Kafka gives negative ones other meanings."""


class Unreadable(ValueError):
    """What was typed cannot be read. The message says what is expected."""


def when(text: str, now_ms: int) -> When:
    """A WHEN: an ISO 8601 time (without a zone it is UTC), a duration back from now, `earliest` or `latest`.

    Raises:
        Unreadable: It is none of these.
    """
    word = text.strip().lower()
    if word in {edge.value for edge in Edge}:
        return Edge(word)
    ago = _AGO.fullmatch(word)
    try:
        if ago is not None:
            return max(0, now_ms - int(timedelta(**{_UNITS[ago[2]]: float(ago[1])}).total_seconds() * 1000))
        moment = datetime.fromisoformat(text.strip())
        return max(0, round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise Unreadable(
            f"{text!r} is no time: write one as 2026-03-01T12:00, a duration back as -2h (s, m, h, d, w), "
            "earliest or latest"
        ) from None


def in_order(begin: object, end: object, options: tuple[str, str] = ("--from", "--to")) -> None:
    """Refuses a range that holds nothing whatever the log holds: the other way round, or behind its end.

    Raises:
        Unreadable: They are not in order.
    """
    first, second = options
    if begin is Edge.LATEST or end is Edge.EARLIEST:
        option, edge = (first, Edge.LATEST) if begin is Edge.LATEST else (second, Edge.EARLIEST)
        raise Unreadable(f"{option} {edge.value}: nothing lies in that range")
    if isinstance(begin, int) and isinstance(end, int) and begin >= end:
        raise Unreadable(f"{first} is not before {second}: nothing can lie between them")
    if isinstance(begin, Mapping) and isinstance(end, Mapping):
        for each in sorted(begin.keys() & end.keys()):
            if begin[each] > end[each]:
                raise Unreadable(
                    f"{each.topic}/{each.number}: {first}-offsets has {begin[each]}, which is behind the "
                    f"{end[each]} of {second}-offsets"
                )


def offsets(text: str, topics: Sequence[str]) -> dict[Partition, int]:
    """OFFSETS: `PARTITION:OFFSET,…`, or `TOPIC/PARTITION:OFFSET,…` if there are several topics.

    Raises:
        Unreadable: It is none, names a topic that is not among `topics`, or a partition twice.
    """
    found: dict[Partition, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        place, _, offset = part.rpartition(":")
        topic, _, number = place.rpartition("/")
        if not topic and len(topics) != 1:
            raise Unreadable(f"{part!r}: there are several topics, so write TOPIC/PARTITION:OFFSET")
        if not all(each.isascii() and each.isdigit() for each in (number, offset)):
            raise Unreadable(f"{part!r} is no offset: write PARTITION:OFFSET, as in 0:1500,1:980")
        partition = Partition(topic or topics[0], int(number))
        if partition.topic not in topics:
            raise Unreadable(f"{part!r}: {partition.topic} is not among the topics ({', '.join(topics)})")
        if partition in found:
            raise Unreadable(f"{part!r}: this partition is named twice")
        found[partition] = int(offset)
    if not found:
        raise Unreadable("no offset is named: write PARTITION:OFFSET, as in 0:1500,1:980")
    return found
