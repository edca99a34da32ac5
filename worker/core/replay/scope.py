"""Which changes a replay is about: ranges of offsets, users, attributes; or single values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeAlias

from worker.core.model import Partition, Scalar, User, UserKey
from worker.core.replay.said import Said

PLACES: Final = 2**64
"""Jobs do users in the order of their places, so that progress is one number. Places are from 0 to below this."""


def place_of(key: UserKey) -> int:
    """A user's place in the order of a job: the same in every process, and as good as random."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


Chooser: TypeAlias = Callable[[Said], Mapping[str, Scalar]]


@dataclass(frozen=True, slots=True)
class Offsets:
    """The offsets of one partition from `start` to before `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What to replay.

    Attributes:
        offsets: the range of each partition in it.
        includes: whether a user's changes are to be replayed. None: everybody's.
        attributes: patterns (`*`, `?`, `[…]`; case-sensitive) of attribute names. Empty: all.
        only: not by patterns, but single values: the records that have them, and the names in each.
    """

    offsets: Mapping[Partition, Offsets]
    includes: Callable[[User], bool] | None = None
    attributes: tuple[str, ...] = ()
    only: Mapping[tuple[Partition, int], Collection[str]] | None = None

    def range_of(self, partition: Partition) -> range:
        """The offsets of a partition in the range."""
        found = self.offsets.get(partition)
        return range(0) if found is None else range(found.start, found.stop)

    def covers(self, partition: Partition, offset: int) -> bool:
        """Whether a record lies in the range, and may have something to be replayed."""
        return offset in self.range_of(partition) and (self.only is None or (partition, offset) in self.only)

    def chooser(self) -> Chooser | None:
        """Tells of a covered record which of its values are to be replayed. Remembers names. None: all are."""
        only = self.only
        if only is not None:
            return lambda said: _chosen(said.values, only[said.partition, said.offset].__contains__)
        if self.attributes:
            matches = Matcher(self.attributes)
            return lambda said: _chosen(said.values, matches)
        return None


def _chosen(values: Mapping[str, Scalar], matches: Callable[[str], bool]) -> Mapping[str, Scalar]:
    return {name: value for name, value in values.items() if matches(name)}


class Matcher:
    """Whether one of some patterns matches a name. No pattern: every name."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._all = not patterns
        self._matches = lru_cache(maxsize=4_096)(lambda name: any(fnmatchcase(name, each) for each in patterns))

    def __call__(self, name: str) -> bool:
        """Whether the name matches."""
        return self._all or self._matches(name)
