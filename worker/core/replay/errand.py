"""A dead letter that is to be delivered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from worker.core.letters.folding import DELIVERED, REFUSED_AGAIN, SUPERSEDED
from worker.core.letters.letter import size_bytes
from worker.core.model import Letter, LostAttribute, Scalar, Source, User
from worker.core.replay.said import Said, Spot
from worker.core.replay.subject import Subject
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry

_PART_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute of a letter: as the letter has it, as it is to be sent, and where it lies in the log."""

    lost: LostAttribute
    value: Scalar = field(repr=False)
    source: Source

    @property
    def spot(self) -> Spot:
        """Where it lies."""
        return Spot(self.source.partition, self.source.offset, self.source.timestamp_ms)


class Errand:
    """A letter on its way, once.

    Attributes:
        letter: the open letter.
        user: whom to address.
        parts: its attributes, by name.
        beside: letters of what the rules refuse of it. They are written before it is ended.
        sending: the names that were sent.
        refused: the letter that the destination's latest refusal would have made. None: nothing was refused.
        doubtful: an earlier process may have made a call for it, even after what is newer. So what is newer is sent.
        marked: the topic says that a call may be made for it.
    """

    __slots__ = (
        *("_newer", "_refused_names", "beside", "doubtful", "letter", "marked", "parts", "refused", "sending"),
        "user",
    )

    def __init__(self, letter: Letter, user: User, parts: Sequence[Part], beside: Sequence[Letter] = ()) -> None:
        self.letter = letter
        self.user = user
        self.parts = {part.lost.name: part for part in parts}
        self.beside = list(beside)
        self.sending: frozenset[str] = frozenset()
        self.refused: Letter | None = None
        self.doubtful = self.marked = False
        self._refused_names: set[str] = set()
        self._newer: dict[str, Change] = {}

    def last(self, user: Subject) -> list[str]:
        """The attributes that have no later change, as far as is known."""
        return [name for name, part in self.parts.items() if user.latest[name] == part.spot]

    def overtaken(self, user: Subject, said: Said, newer: Mapping[str, Scalar]) -> None:
        """Later changes of its user: the newest values, as far as is known. Noted if it is doubtful."""
        for name in self.parts.keys() & newer if self.doubtful else ():
            self._newer[name] = said.change(user, {name: newer[name]})

    def names(self, user: Subject) -> list[str]:
        """The attributes to send a value of."""
        return [*self.last(user), *self._newer]

    def entry(self, user: Subject, now: float) -> Entry:
        """What to send: its attributes that are the last word, and what is newer than the others if it is doubtful."""
        self.sending = frozenset(self.names(user))
        entry = Entry(user.key, now)
        chosen = sorted((self.parts[name] for name in self.last(user)), key=lambda part: part.spot)
        for source, parts in groupby(chosen, key=lambda part: part.source):
            of_source = list(parts)
            change = Change(
                user,
                user.key,
                source,
                {part.lost.name: part.value for part in of_source},
                sent=self.user,
                occurred_at_ms=of_source[0].lost.occurred_at_ms,
                record_key=self.letter.record_key,
                headers=self.letter.headers,
            )
            entry.absorb(change)
        for change in self._newer.values():
            entry.absorb(change)
        return entry

    def refuse(self, letter: Letter, names: Collection[str]) -> None:
        """The destination refused these attributes again, as this letter of the engine says."""
        self.refused = letter
        self._refused_names.update(names)

    def refused_again(self, user: Subject) -> Letter | None:
        """The letter anew, with one attempt more and what was refused and has no later change. None: nothing."""
        names = self._refused_names.intersection(self.last(user))
        if self.refused is None or not names:
            return None
        return replace(
            self.letter,
            reason=self.refused.reason,
            detail=self.refused.detail,
            failed_at_ms=self.refused.failed_at_ms,
            attempts=self.letter.attempts + 1,
            user=self.user,
            attributes=tuple(part.lost for name, part in self.parts.items() if name in names),
            answer=self.refused.answer,
            record_value=None,
            worker=None,
        )

    def outcome(self, user: Subject) -> str:
        """How the letter ends."""
        if self.refused_again(user) is not None:
            return REFUSED_AGAIN
        return DELIVERED if self.last(user) else SUPERSEDED

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        beside = sum(map(size_bytes, self.beside))
        return size_bytes(self.letter) + beside + len(self.parts) * _PART_BYTES + self.user.custom_bytes
