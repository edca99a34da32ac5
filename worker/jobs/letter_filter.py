"""Which letters are meant, by what was typed."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from worker.core.model import Letter, Partition, Reason
from worker.jobs.users import Users
from worker.jobs.when import Edge, Unreadable, When


class SourcePlace(NamedTuple):
    """A place in a source topic: the whole topic, a partition, or a record."""

    topic: str
    partition: int | None
    offset: int | None

    def holds(self, partition: Partition, offset: int) -> bool:
        """Whether this record lies there."""
        return (
            self.topic == partition.topic
            and self.partition in {None, partition.number}
            and self.offset in {None, offset}
        )


def source_place(text: str) -> SourcePlace:
    """A SOURCE: `TOPIC`, `TOPIC/PARTITION` or `TOPIC/PARTITION:OFFSET`.

    Raises:
        Unreadable: It is none of these.
    """
    topic, has_partition, rest = text.strip().partition("/")
    number, has_offset, offset = rest.partition(":")
    wanted = [*([number] if has_partition else []), *([offset] if has_offset else [])]
    if not topic or ":" in topic or not all(each.isascii() and each.isdigit() for each in wanted):
        raise Unreadable(f"{text!r} is no source: write TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:OFFSET")
    return SourcePlace(topic, int(number) if has_partition else None, int(offset) if has_offset else None)


def bound_ms(edge_or_time: When | None, *, now_ms: int) -> int | None:
    """A bound in time: None if there is none."""
    match edge_or_time:
        case Edge.LATEST:
            return now_ms
        case Edge.EARLIEST:
            return 0
        case other:
            return other


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Letters fit if they fit every kind of filter that is given; of one kind, any one will do.

    Attributes:
        since_ms, until_ms: when it failed: from the one on, before the other.
        users: None: also letters without a user.
        attributes: patterns of names, such as `sc*`.
        sources: where its records came from.
    """

    reasons: frozenset[Reason] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    users: Users | None = None
    attributes: tuple[str, ...] = ()
    sources: tuple[SourcePlace, ...] = ()

    def fits(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since_ms is None or letter.failed_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.failed_at_ms < self.until_ms)
            and (self.users is None or (letter.user is not None and self.users.include(letter.user)))
            and (not self.attributes or self._names(letter))
            and (not self.sources or self._comes_from(letter))
        )

    def _names(self, letter: Letter) -> bool:
        names = [attribute.name for attribute in letter.attributes]
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.attributes)

    def _comes_from(self, letter: Letter) -> bool:
        places = [(source.partition, source.offset) for source in letter.sources]
        places += [(attribute.partition, attribute.offset) for attribute in letter.attributes]
        return any(wanted.holds(*place) for place in places for wanted in self.sources)
