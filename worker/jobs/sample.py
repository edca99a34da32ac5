"""The users that a job looks at, with the last value of each of their attributes, in bounded memory.

A sample is the users whose keys have the lowest hashes: the same users in each run, whatever order they come in. One
reading of the log is enough, since a user whose hash is low enough in the end was low enough all the time. If memory
holds fewer users than are wanted, those with the lowest hashes are done first, and the log is read again for the next.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Final

from worker.core.model import Scalar, Source, User, UserKey
from worker.core.replay.scope import place_of

_USER_BYTES: Final = 1_000  # in memory, beside its attributes
_ATTRIBUTE_BYTES: Final = 250  # beside its name and value


@dataclass(frozen=True, slots=True)
class Last:
    """The last change of an attribute, and where it stands."""

    value: Scalar = field(repr=False)
    source: Source


@dataclass(slots=True, eq=False)
class Subject:
    """A user, and what the topic says of it. `user` has all identifiers that its changes were sent with."""

    key: UserKey
    place: int
    user: User
    last: dict[str, Last] = field(default_factory=dict, repr=False)

    def learn(self, user: User) -> None:
        """These identifiers came with a change. The latest of each kind stays."""
        self.user = User(
            user.phone or self.user.phone,
            user.email or self.user.email,
            user.client_user_id or self.user.client_user_id,
            user.custom or self.user.custom,
        )


class Sample:
    """At most `users_max` users (None: all that there are), those with the lowest hashes above `after`.

    Attributes:
        cut: whether memory did not hold all that are wanted: go on with another sample after `last_place`.
    """

    def __init__(self, users_max: int | None, bytes_max: int, after: int = -1) -> None:
        self._users_max = math.inf if users_max is None else users_max
        self._bytes_max = bytes_max
        self._after = after
        self._below: float = math.inf
        self._bytes = 0
        self._subjects: dict[UserKey, Subject] = {}
        self._highest: list[tuple[int, UserKey]] = []  # a heap by the negative hash
        self._closed = False
        self.cut = False

    def __iter__(self) -> Iterator[Subject]:
        return iter(self._subjects.values())

    def __len__(self) -> int:
        return len(self._subjects)

    @property
    def last_place(self) -> int:
        """The highest hash in it."""
        return -self._highest[0][0] if self._highest else self._after

    def close(self) -> None:
        """No further user comes in. Changes of those in it still do."""
        self._closed = True

    def take(self, key: UserKey, user: User, attributes: Mapping[str, Scalar], source: Source) -> Subject | None:
        """A user's change, the next in its partition. Returns the user. None if it does not come in."""
        subject = self._subjects.get(key) or self._admitted(key, user)
        if subject is None:
            return None
        subject.learn(user)
        for name, value in attributes.items():
            before = subject.last.get(name)
            if before is not None and _is_older(source, before.source):
                continue
            self._bytes += _size(name, value) - (0 if before is None else _size(name, before.value))
            subject.last[name] = Last(value, source)
        while not self._closed and (len(self) > self._users_max or (self._bytes > self._bytes_max and len(self) > 1)):
            self._evict()
        return subject

    def _admitted(self, key: UserKey, user: User) -> Subject | None:
        place = place_of(key)
        if self._closed or not self._after < place < self._below:
            return None
        subject = self._subjects[key] = Subject(key, place, user)
        heapq.heappush(self._highest, (-place, key))
        self._bytes += _USER_BYTES
        return subject

    def _evict(self) -> None:
        """The user with the highest hash goes, and none as high will come again."""
        self.cut |= len(self) <= self._users_max
        place, key = heapq.heappop(self._highest)
        self._below = -place
        gone = self._subjects.pop(key)
        self._bytes -= _USER_BYTES + sum(_size(name, last.value) for name, last in gone.last.items())


def _is_older(source: Source, than: Source) -> bool:
    """In a partition, a later record is newer. Between two partitions Kafka has no order: the records' times decide."""
    return source.partition != than.partition and source.timestamp_ms < than.timestamp_ms


def _size(name: str, value: Scalar) -> int:
    return _ATTRIBUTE_BYTES + getsizeof(name) + getsizeof(value)
