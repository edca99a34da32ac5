"""Which dead letters are open: the letters and resolutions of a topic, folded by their ids.

A letter may be written twice, as after a crash: records with one id are one letter. Refused again after a redrive, it
is written with the same id and more `attempts`. A resolution has the `attempts` of the letter that it ends. So a letter
is open if it was written with more attempts than any resolution of its id has. That holds in whatever order the records
are read: a resolution may lie before its letter's duplicate, or in another partition.

Before a redrive makes a call for a letter, it says so by a record of its own, again with the letter's `attempts`. While
the letter is open, nobody knows whether that call was made, and when it was applied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, NamedTuple

from worker.core.model import LOSSES, Letter, Reason

OPEN: Final = "open"
DELIVERED: Final = "delivered"
SUPERSEDED: Final = "superseded"
REFUSED_AGAIN: Final = "refused again"
DISMISSED: Final = "dismissed"

HELD_BYTES: Final = 450
"""What one id takes in memory, at most."""
_DETAIL_MAX: Final = 40
_NONE: Final = -1


def resolution_of(letter: Letter, detail: str, wall_ms: int) -> Letter:
    """The record that ends a letter: one of the details above. It holds no user and no value."""
    return _told_of(letter, Reason.RESOLVED, detail, wall_ms)


def beginning_of(letter: Letter, wall_ms: int) -> Letter:
    """The record that says that a call may be made for a letter. It holds no user and no value, either."""
    return _told_of(letter, Reason.BEGUN, "a redrive is about to send it", wall_ms)


def _told_of(letter: Letter, reason: Reason, detail: str, wall_ms: int) -> Letter:
    return replace(
        letter,
        reason=reason,
        detail=detail,
        failed_at_ms=wall_ms,
        user=None,
        attributes=(),
        answer=None,
        record_value=None,
        headers=(),
        cut=(),
        worker=None,
    )


class Place(NamedTuple):
    """Where a record of the dead-letter topic lies."""

    partition: int
    offset: int


@dataclass(slots=True)
class _Fate:
    """What is known of one id."""

    attempts: int = _NONE
    place: Place | None = None
    resolved_attempts: int = _NONE
    resolved_at_ms: int = _NONE
    detail: str = ""
    begun_attempts: int = _NONE


class Folding:
    """Folds the records of a topic, in any order. What it holds does not grow with the letters' size.

    Args:
        parts: ids are divided into so many parts by their hash,
        part: and this one is folded. So a topic of any length is folded in bounded memory, part after part.

    Example:
        >>> folding = Folding()
        >>> for place, letter in records:
        ...     folding.take(letter, place)
        >>> folding.state(letter.id)
        'dismissed'
    """

    def __init__(self, parts: int = 1, part: int = 0) -> None:
        self._parts = parts
        self._part = part
        self._fates: dict[bytes, _Fate] = {}

    def take(self, letter: Letter, place: Place) -> None:
        """Takes in a letter, or what is told of one. Passes over one of another part."""
        key = _key(letter.id)
        if not self._is_ours(key):
            return
        fate = self._fates.setdefault(key, _Fate())
        if letter.reason is Reason.RESOLVED:
            # Of two resolutions of the same attempts, the latest tells how it ended.
            if (letter.attempts, letter.failed_at_ms) >= (fate.resolved_attempts, fate.resolved_at_ms):
                fate.resolved_attempts, fate.resolved_at_ms = letter.attempts, letter.failed_at_ms
                fate.detail = letter.detail[:_DETAIL_MAX]
        elif letter.reason is Reason.BEGUN:
            fate.begun_attempts = max(fate.begun_attempts, letter.attempts)
        elif fate.place is None or (-letter.attempts, place) < (-fate.attempts, fate.place):
            # Of its records, the latest attempt stands for a letter. Of these, the first.
            fate.attempts, fate.place = letter.attempts, place

    def stands(self, letter: Letter, place: Place) -> bool:
        """Whether its record at this place is the one that stands for the letter. False for one of another part."""
        fate = self._fates.get(_key(letter.id))
        return letter.reason in LOSSES and fate is not None and fate.place == place

    def is_doubtful(self, letter_id: str) -> bool:
        """Whether a redrive may have made a call for the letter as it stands, without saying how it ended."""
        fate = self._fates.get(_key(letter_id), _Fate())
        return fate.begun_attempts >= fate.attempts > fate.resolved_attempts

    def state(self, letter_id: str) -> str:
        """`open`, or how the letter ended."""
        fate = self._fates.get(_key(letter_id), _Fate())
        return OPEN if fate.attempts > fate.resolved_attempts else fate.detail

    def _is_ours(self, key: bytes) -> bool:
        return self._parts == 1 or int.from_bytes(key[:8], "big") % self._parts == self._part


def _key(letter_id: str) -> bytes:
    """A short key: an id may be of any length, since anybody may write to the topic."""
    return blake2b(letter_id.encode("utf-8", "backslashreplace"), digest_size=16).digest()
