"""The latest dead letters: a few, bounded, and without a value."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.core.facts import Delivered, LetterWritten
from worker.core.model import Partition, Reason
from worker.ops.letters import LATEST_MAX, NAME_CHARACTERS_MAX, NAMES_MAX, LatestLetters
from worker.ops.status import DeadLetter

P3 = Partition("profile-changes", 3)


def test_the_latest_come_first_and_older_ones_are_forgotten() -> None:
    letters = LatestLetters()
    for offset in range(2 * LATEST_MAX):
        letters.observe(LetterWritten(Reason.REJECTED, ("tier",), 2, 1_000 * offset, P3, offset))
        letters.observe(Delivered(1, 1, 0.5))
    assert [letter.offset for letter in letters.latest] == list(range(2 * LATEST_MAX - 1, LATEST_MAX - 1, -1))
    at = datetime(1970, 1, 1, 0, 0, 19, tzinfo=UTC)
    assert letters.latest[0] == DeadLetter(at, "rejected", "profile-changes", 3, 19, ("tier",))


def test_a_letter_without_a_source_has_none() -> None:
    letters = LatestLetters()
    letters.observe(LetterWritten(Reason.UNDECODABLE, (), 0, 0, None, None))
    (letter,) = letters.latest
    assert (letter.topic, letter.partition, letter.offset, letter.attributes) == (None, None, None, ())


def test_many_names_and_long_ones_are_cut() -> None:
    letters = LatestLetters()
    names = ("a" * 1_000_000, *map(str, range(500)))
    letters.observe(LetterWritten(Reason.INVALID_ATTRIBUTE_NAME, names, 0, 0, P3, 7))
    (letter,) = letters.latest
    assert letter.attributes[0] == "a" * (NAME_CHARACTERS_MAX - 1) + "…"
    assert letter.attributes[1:3] == ("0", "1")
    assert (len(letter.attributes), letter.attributes[-1]) == (NAMES_MAX + 1, "and 491 more")
