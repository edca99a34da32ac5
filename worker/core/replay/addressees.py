"""The users whose letters are to be delivered, as many as memory holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from worker.core.model import Letter, Partition, UserKey
from worker.core.replay.errand import Errand
from worker.core.replay.said import Spot, is_later
from worker.core.replay.scope import PLACES
from worker.core.replay.subject import SUBJECT_BYTES, Subject

_KEPT: Final = 0.75  # of the users, when memory runs out


class Addressee(Subject):
    """A user with letters. They are delivered one after the other, in the order of the log.

    Attributes:
        errands: what is left to do; the first of them is under way.
        outcome: how the first one ends, once that is decided.
        unwritten: letters about it that are not acknowledged yet.
        size_bytes: what it takes in memory.
    """

    __slots__ = ("errands", "outcome", "size_bytes", "unwritten")

    def __init__(self, key: UserKey, on_settled: Callable[[Subject], None]) -> None:
        super().__init__(key, on_settled)
        self.errands: list[Errand] = []
        self.outcome = ""
        self.unwritten: set[Letter] = set()
        self.size_bytes = SUBJECT_BYTES

    def expect(self, errand: Errand) -> None:
        """One more letter of the user."""
        self.errands.append(errand)
        self.size_bytes += errand.size_bytes
        for name, part in errand.parts.items():
            known = self.latest.get(name)
            if known is None or is_later(part.source, known):
                self.latest[name] = part.spot

    def in_order(self) -> None:
        """All its letters are here: puts them into the order of the log."""
        self.errands.sort(key=lambda errand: min(part.spot for part in errand.parts.values()))


class Addressees:
    """The users with places from `lower` on, as many as memory holds: then `upper` is lower than the last place.

    Attributes:
        users: by key.
        upper: users from this place on are not in it.
    """

    def __init__(self, *, lower: int, max_bytes: int, on_settled: Callable[[Subject], None]) -> None:
        self.users: dict[UserKey, Addressee] = {}
        self.upper = PLACES
        self._lower = lower
        self._max_bytes = max_bytes
        self._on_settled = on_settled
        self._size_bytes = 0

    def expect(self, key: UserKey, errand: Errand) -> None:
        """A letter that is to be delivered. It is passed over if its user's turn is in another pass."""
        user = self.users.get(key)
        if user is None:
            user = Addressee(key, self._on_settled)
            if not self._lower <= user.place < self.upper:
                return
            self.users[key] = user
            self._size_bytes += user.size_bytes
        before = user.size_bytes
        user.expect(errand)
        self._size_bytes += user.size_bytes - before
        if self._size_bytes > self._max_bytes:
            self._make_room()

    def _make_room(self) -> None:
        """Leaves the users with the highest places to a later pass. One user always stays, however many letters."""
        places = sorted(user.place for user in self.users.values())
        if len(places) == 1:
            return
        self.upper = places[max(1, int(len(places) * _KEPT))]
        for key in [key for key, user in self.users.items() if user.place >= self.upper]:
            self._size_bytes -= self.users.pop(key).size_bytes

    def ordered(self) -> list[Addressee]:
        """All users, in the order of the work, each with its letters in the order of the log."""
        for user in self.users.values():
            user.in_order()
        return sorted(self.users.values(), key=lambda user: user.place)

    @property
    def passes(self) -> int:
        """How many passes this one and those behind it are, if all users take as much memory as these."""
        return math.ceil((PLACES - self._lower) / max(1, self.upper - self._lower))

    @property
    def begins(self) -> dict[Partition, int]:
        """For each partition, the lowest offset of a letter."""
        found: dict[Partition, int] = {}
        for spot in self._spots():
            found[spot.partition] = min(spot.offset, found.get(spot.partition, spot.offset))
        return found

    @property
    def since_ms(self) -> int:
        """When the first record of a letter was written."""
        return min((spot.timestamp_ms for spot in self._spots()), default=0)

    def _spots(self) -> Iterator[Spot]:
        return (part.spot for user in self.users.values() for errand in user.errands for part in errand.parts.values())
