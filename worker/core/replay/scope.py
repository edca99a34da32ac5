"""Which changes a replay is about: ranges of offsets, users, attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from worker.core.model import Partition, User, UserKey

PLACES: Final = 2**64
"""Users are done in the order of their places, so that progress is one number. Places are from 0 to below this."""


def place_of(key: UserKey) -> int:
    """A user's place in the order of the work: the same in every process, and as good as random."""
    text = "\0".join(key).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


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
        includes: whether a user's changes are to be replayed.
        attributes: patterns (`*`, `?`, `[…]`; case-sensitive) of attribute names. Empty: all.
    """

    offsets: Mapping[Partition, Offsets]
    includes: Callable[[User], bool] = lambda _: True
    attributes: tuple[str, ...] = ()

    def covers(self, partition: Partition, offset: int) -> bool:
        """Whether a record lies in the range."""
        found = self.offsets.get(partition)
        return found is not None and found.start <= offset < found.stop

    def matcher(self) -> Matcher:
        """Tells of an attribute's name whether it is to be replayed. Remembers names."""
        return Matcher(self.attributes)


class Matcher:
    """Whether one of some patterns matches a name. No pattern: every name."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._all = not patterns
        self._matches = lru_cache(maxsize=4_096)(lambda name: any(fnmatchcase(name, each) for each in patterns))

    def __call__(self, name: str) -> bool:
        """Whether the name matches."""
        return self._all or self._matches(name)
