"""What a range says of each user, after all that came later in the log: the values that are still the last ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from worker.core.model import Now, UserKey
from worker.core.replay.said import Said
from worker.core.replay.scope import PLACES, Scope
from worker.core.replay.subject import Subject

_KEPT: Final = 0.75  # of the memory, when it runs out


class Index:
    """The users with places from `lower` on, as many as memory holds: then `upper` is lower than the last place.

    Attributes:
        subjects: by key.
        lower: where it begins.
        upper: users from this place on are not in it.
        size_bytes: what it takes in memory.
        changes: records of the range that say something of a chosen user and attribute.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        lower: int,
        doubtful: Collection[int],
        unverified: Collection[int],
        max_bytes: int,
        on_settled: Callable[[Subject], None],
    ) -> None:
        """Also takes users with a place below `lower` that is in one of these.

        `doubtful`: an earlier process may have made a call for its user. What came after the range must be sent, too:
        the call may have set an older value over it.

        `unverified`: of its user, only what came after the range is taken.
        """
        self.subjects: dict[UserKey, Subject] = {}
        self.upper = PLACES
        self.size_bytes = 0
        self.changes = 0
        self.lower = lower
        self._doubtful = frozenset(doubtful)
        self._unverified = frozenset(unverified)
        self._left = self._doubtful | self._unverified
        self._max_bytes = max_bytes
        self._on_settled = on_settled
        self._covers = scope.covers
        self._includes = scope.includes
        self._chosen = scope.chooser()

    def take(self, said: Said, now: Now) -> None:
        """Takes in what the next record of a partition says."""
        subject = self.subjects.get(said.key)
        if self._covers(said.partition, said.offset):
            self._take_covered(subject, said, now)
        elif subject is not None:
            self._take_later(subject, said, now)
        if self.size_bytes > self._max_bytes:
            self._make_room()

    def _take_covered(self, subject: Subject | None, said: Said, now: Now) -> None:
        values = self._chosen(said)
        if values and self._includes(said.user):
            self.changes += 1
            subject = subject or self._new(said.key)
        if subject is None:
            return
        size = subject.size_bytes
        subject.values += len(values)
        newest = subject.newest(said, values)
        unverified = bool(self._unverified) and subject.place in self._unverified
        if len(newest) == len(said.values) and not unverified:  # nearly always: the fast way through `fold`
            subject.add(said, newest)
        else:
            subject.fold(said, newest, send=not unverified)
        subject.changed(said.timestamp_ms, now, live=False)
        self.size_bytes += subject.size_bytes - size

    def _take_later(self, subject: Subject, said: Said, now: Now) -> None:
        size = subject.size_bytes
        subject.fold(said, subject.newer(said), send=subject.sent)
        subject.changed(said.timestamp_ms, now, live=False)
        self.size_bytes += subject.size_bytes - size

    def _new(self, key: UserKey) -> Subject | None:
        subject = Subject(key, self._on_settled)
        if self.lower or self.upper < PLACES or self._left:  # else every place will do: do not ask for it
            subject.sent = subject.place in self._left
            if subject.place >= self.upper or (subject.place < self.lower and not subject.sent):
                return None
        self.subjects[key] = subject
        self.size_bytes += subject.size_bytes
        return subject

    def _make_room(self) -> None:
        """Folds equal values. If that is not enough, leaves the users with the highest places to a later pass.

        One user always stays, however large.
        """
        for subject in self.subjects.values():
            if len(subject.told) > 1:
                size = subject.size_bytes
                subject.fold_equals()
                self.size_bytes += subject.size_bytes - size
        places = sorted(subject.place for subject in self.subjects.values())
        if self.size_bytes <= self._max_bytes * _KEPT or len(places) == 1:
            return
        self.upper = places[max(1, int(len(places) * _KEPT))]
        for key in [key for key, subject in self.subjects.items() if subject.place >= self.upper]:
            self.size_bytes -= self.subjects.pop(key).size_bytes

    def ordered(self) -> list[Subject]:
        """All users, in the order of the work."""
        return sorted(self.subjects.values(), key=lambda subject: subject.place)
