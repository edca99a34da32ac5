"""What a range says of each user, after all that came later in the log: the values that are still the last ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from worker.core.model import Now, UserKey
from worker.core.replay.said import Said
from worker.core.replay.scope import PLACES, Scope, place_of
from worker.core.replay.subject import SUBJECT_BYTES, Subject

_FULL: Final = 0.9  # of the memory
_KEPT: Final = 0.75  # of it, when it is full


class Index:
    """The users with places from `lower` on, as many as memory holds: then `upper` is lower than the last place.

    Attributes:
        subjects: by key.
        lower: where it begins.
        upper: users from this place on are not in it.
        size_bytes: what it takes in memory, at most.
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
        self._single: dict[UserKey, Said] = {}  # users with one record, which is all that is known of them
        self.upper = PLACES
        self.size_bytes = 0
        self.changes = 0
        self.lower = lower
        self._doubtful = frozenset(doubtful)
        self._unverified = frozenset(unverified)
        self._left = self._doubtful | self._unverified
        self._max_bytes = max_bytes
        self._on_settled = on_settled
        self._scope = scope
        self._includes = scope.includes
        self._chosen = scope.chooser()

    def take(self, saids: Iterable[Said], now: Now) -> None:
        """Takes in what the next records say, in the order of each partition, and keeps to the memory."""
        scope, only, find, single = self._scope, self._scope.only, self.subjects.get, self._single
        plain = only is None and not (self._left or self._chosen or self._includes)
        partition, covered = None, range(0)
        for said in saids:
            if said.partition is not partition:  # nearly always, many of one partition come together
                partition = said.partition
                covered = scope.range_of(partition)
            key = said.key
            subject = find(key)
            if subject is None:
                if key in single:
                    subject = self._begin(single.pop(key), now)
                elif plain and said.offset in covered:
                    self.changes += 1
                    if self._has_place(key):
                        single[key] = said
                        self.size_bytes += SUBJECT_BYTES + said.size_bytes_at_most
                    continue
            if said.offset in covered and (only is None or scope.covers(partition, said.offset)):
                self._take_covered(subject, said, now)
            elif subject is not None:
                self.size_bytes += subject.take_later(said)
                subject.changed(said.written_at(now))
        if self.size_bytes > self._max_bytes:
            self._make_room()

    def _begin(self, first: Said, now: Now) -> Subject:
        """A second record says something of a user."""
        subject = self.subjects[first.key] = Subject(first.key, self._on_settled)
        subject.take(first, first.values, send=True)
        subject.changed(first.written_at(now))
        return subject

    def _take_covered(self, subject: Subject | None, said: Said, now: Now) -> None:
        values = said.values if self._chosen is None else self._chosen(said)
        if values and (self._includes is None or self._includes(said.user)):
            self.changes += 1
            subject = subject or self._new(said.key)
        if subject is None:
            return
        send = not (self._unverified and subject.place in self._unverified)
        self.size_bytes += subject.take(said, values, send=send)
        subject.changed(said.written_at(now))

    def _has_place(self, key: UserKey) -> bool:
        """Whether the user is one of this pass."""
        return not (self.lower or self.upper < PLACES) or self.lower <= place_of(key) < self.upper

    def _new(self, key: UserKey) -> Subject | None:
        subject = Subject(key, self._on_settled)
        subject.sent = bool(self._left) and subject.place in self._left
        if not self._has_place(key) and not (subject.sent and subject.place < self.upper):
            return None
        self.subjects[key] = subject
        self.size_bytes += SUBJECT_BYTES
        return subject

    def _make_room(self) -> None:
        """Measures. If memory is full, folds equal values.

        If that is not enough, leaves the users with the highest places to a later pass. One user always stays, however
        large.
        """
        self._measure()
        if self.size_bytes <= self._max_bytes * _FULL:
            return
        for subject in self.subjects.values():
            if len(subject.told) > 1:
                subject.fold_equals()
        self._measure()
        places = {key: place_of(key) for key in (*self.subjects, *self._single)}
        if self.size_bytes <= self._max_bytes * _KEPT or len(places) == 1:
            return
        self.upper = sorted(places.values())[max(1, int(len(places) * _KEPT))]
        for key, place in places.items():
            if place >= self.upper:
                self._single.pop(key, None)
                self.subjects.pop(key, None)
        self._measure()

    def _measure(self) -> None:
        self.size_bytes = sum([subject.measure() for subject in self.subjects.values()])
        self.size_bytes += sum([SUBJECT_BYTES + said.size_bytes for said in self._single.values()])

    @property
    def single(self) -> int:
        """How many more users there are than `subjects`, each with one record, all of whose values are to be sent."""
        return len(self._single)

    def ordered(self, now: Now) -> list[Subject]:
        """All users, in the order of the work."""
        while self._single:
            self._begin(self._single.popitem()[1], now)
        return sorted(self.subjects.values(), key=lambda subject: subject.place)
