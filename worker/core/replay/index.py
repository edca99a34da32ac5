"""What a range says of each user, after all that came later in the log: the values that are still the last ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.core.letters.letter import source_of, trace_context
from worker.core.model import Now, Record, Scalar, User, UserKey
from worker.core.replay.scope import PLACES, Scope
from worker.core.replay.subject import NAME_BYTES, SUBJECT_BYTES, Subject
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry

_KEPT: Final = 0.75  # of the users, when memory runs out


@dataclass(slots=True)  # not frozen: one is made of every record, and that would take twice as long
class Said:
    """What a record says of a user, after preflight. `record` is where it lies."""

    record: Record
    key: UserKey
    user: User
    values: Mapping[str, Scalar] = field(repr=False)
    occurred_at_ms: int | None = None
    event_id: str | None = field(default=None, repr=False)

    def change(self, subject: Subject) -> Change:
        """Its change, for an entry."""
        record = self.record
        source = source_of(record, self.event_id)
        headers = trace_context(record.headers)
        return Change(subject, source, occurred_at_ms=self.occurred_at_ms, record_key=record.key, headers=headers)


class Index:
    """The users with places from `lower` on, as many as memory holds: then `upper` is lower than the last place.

    Attributes:
        subjects: by key.
        lower: where it begins.
        upper: users from this place on are not in it.
        size_bytes: what it takes in memory.
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
        self._scope = scope
        self.lower = lower
        self._doubtful = frozenset(doubtful)
        self._unverified = frozenset(unverified)
        self._max_bytes = max_bytes
        self._on_settled = on_settled
        self._chosen = scope.chooser()

    def take(self, said: Said, now: Now) -> None:
        """Takes in what the next record of a partition says."""
        covered = self._scope.covers(said.record.partition, said.record.offset)
        subject = self.subjects.get(said.key)
        if subject is None:
            subject = self._new(said) if covered else None
            if subject is None:
                return
        before = _size_bytes(subject)
        if covered:
            self._take_covered(subject, said, now.mono)
        else:
            take_later(subject, said, newer_values(subject, said), now.mono)
        subject.changed(said.record.timestamp_ms, now, live=False)
        self.size_bytes += _size_bytes(subject) - before
        if self.size_bytes > self._max_bytes:
            self._make_room()

    def _new(self, said: Said) -> Subject | None:
        if not self._scope.includes(said.user) or not self._chosen(said.record, said.values):
            return None
        subject = Subject(said.key, self._on_settled)
        left = subject.place in self._unverified or subject.place in self._doubtful
        if subject.place >= self.upper or (subject.place < self.lower and not left):
            return None
        subject.sent = left
        self.subjects[said.key] = subject
        self.size_bytes += _size_bytes(subject)
        return subject

    def _take_covered(self, subject: Subject, said: Said, now: float) -> None:
        names = self._chosen(said.record, said.values)
        subject.values += len(names)
        values = {name: said.values[name] for name in names if subject.takes(name, said.record)}
        if values and subject.place not in self._unverified:
            absorb(subject, said, values, now)
        _outdate(subject, said, values)

    def _make_room(self) -> None:
        """Leaves the users with the highest places to a later pass. One user always stays, however large."""
        places = sorted(subject.place for subject in self.subjects.values())
        if len(places) == 1:
            return
        self.upper = places[max(1, int(len(places) * _KEPT))]
        for key in [key for key, subject in self.subjects.items() if subject.place >= self.upper]:
            self.size_bytes -= _size_bytes(self.subjects.pop(key))

    def ordered(self) -> list[Subject]:
        """All users, in the order of the work."""
        return sorted(self.subjects.values(), key=lambda subject: subject.place)


def newer_values(subject: Subject, said: Said) -> dict[str, Scalar]:
    """What a later record says of the attributes that the replay is responsible for."""
    latest, record = subject.latest, said.record
    return {name: value for name, value in said.values.items() if name in latest and subject.takes(name, record)}


def take_later(subject: Subject, said: Said, newer: Mapping[str, Scalar], now: float) -> None:
    """A record behind the range says these newer values of a user whose call has not begun."""
    if subject.sent and newer:
        absorb(subject, said, newer, now)
    else:
        _drop(subject, newer)
    _outdate(subject, said, newer)


def _drop(subject: Subject, names: Collection[str]) -> None:
    """Values of a user that was not begun are no longer the last ones of the log: they are not sent."""
    entry = subject.entry
    if entry is None:
        return
    for name in names:
        if name in entry.attributes:
            entry.discard(name)
    if not entry.attributes:
        subject.entry, subject.unsettled = None, 0


def _outdate(subject: Subject, said: Said, newest: Collection[str]) -> None:
    """What a record says beside the `newest` values is older than another partition's, but newer than its own's."""
    if subject.entry is None or len(newest) == len(said.values):
        return
    for name in said.values:
        if name not in newest:
            subject.entry.drop_older(name, said.record.partition)


def absorb(subject: Subject, said: Said, values: Mapping[str, Scalar], now: float) -> None:
    """Adds values to what is to be sent for a user."""
    if subject.entry is None:
        subject.entry = Entry(said.key, said.user, now)
    subject.entry.absorb(said.user, said.change(subject), values)


def _size_bytes(subject: Subject) -> int:
    return SUBJECT_BYTES + NAME_BYTES * len(subject.latest) + (0 if subject.entry is None else subject.entry.size_bytes)
