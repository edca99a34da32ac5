"""A replay's progress as notes: they fit, come back, and are written one at a time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from tests.core.drive import P0, P1
from worker.core.model import Partition, UserKey
from worker.core.replay.progress import MARKS_MAX, Progress
from worker.core.replay.scope import PLACES, Offsets, place_of
from worker.jobs.begin import Beginning, decide, filters_of, name_of, wanted
from worker.jobs.diary import Begun, Diary, begun_of, notes_of
from worker.jobs.spans import Reach
from worker.jobs.users import identifier
from worker.jobs.when import Unreadable
from worker.kafka.notebook import NOTE_BYTES_MAX, Note, Notebook

RANGES = {P0: Offsets(0, 2**62), P1: Offsets(7, 9)}
FULL = Progress(
    begun=PLACES,
    open=frozenset(random.Random(1).sample(range(PLACES - 10**6, PLACES), MARKS_MAX // 2)),
    unverified=frozenset(random.Random(2).sample(range(PLACES - 10**6, PLACES), MARKS_MAX // 2)),
)
BEGUN = Begun(RANGES, "0123abcd", FULL)


def test_notes_name_the_same_users_in_every_version_of_the_worker() -> None:
    """Whoever gives users other places raises the version of the notes, so that nobody goes on from the old ones."""
    assert place_of(UserKey("phone", "", "+13115552368")) == 14702382705506885610
    assert place_of(UserKey("custom", "shop", "7")) == 7044603846265048191
    assert '"v":2,' in notes_of(BEGUN)[P0].text


def test_the_fullest_progress_fits_and_comes_back() -> None:
    notes = notes_of(BEGUN)
    assert max(len(note.text.encode()) for note in notes.values()) < NOTE_BYTES_MAX - 100
    assert begun_of(notes) == BEGUN
    assert {each: note.offset for each, note in notes.items()} == {P0: 2**62, P1: 9}


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {P1: notes_of(BEGUN)[P1]},
        {P0: notes_of(BEGUN)[P0]},
        {P0: Note(5, ""), P1: Note(6, "")},
        {P0: Note(5, '{"v": 3, "partitions": 1}')},
        {P0: Note(5, "[]")},
        {P0: Note(5, '{"v": 2, "from": "x", "partitions": 1}')},
    ],
    ids=["none", "no head", "a part is missing", "another's", "of a later version", "no object", "garbage"],
)
def test_what_is_no_whole_set_of_notes_is_none(notes: Mapping[Partition, Note]) -> None:
    assert begun_of(notes) is None


class FakeNotebook:
    """Keeps the notes; `under_way` until the test answers."""

    def __init__(self) -> None:
        self.notes: dict[Partition, Note] = {}
        self.under_way = False
        self.problem: str | None = None
        self.writes = 0

    def write(self, notes: Mapping[Partition, Note]) -> None:
        assert not self.under_way
        self.under_way, self.writes = True, self.writes + 1
        self.notes |= notes


def test_one_write_is_under_way_at_a_time_and_what_is_not_kept_is_counted() -> None:
    book = FakeNotebook()
    diary = Diary(cast("Notebook", book), replace(BEGUN, progress=Progress()), anew=False)
    first, second = Progress(begun=1), Progress(begun=2)
    diary.turn(first, 3)
    assert (book.writes, diary.unsaved) == (1, 3)
    diary.turn(second, 5)
    assert (book.writes, diary.unsaved) == (1, 5)
    book.under_way = False
    diary.turn(second, 5)
    assert (book.writes, diary.unsaved) == (2, 2), "the first three are kept"
    assert (diary.kept, diary.is_kept(second)) == (first, False)
    book.under_way = False
    diary.turn(second, 5)
    assert (book.writes, diary.unsaved) == (2, 0)
    assert diary.is_kept(second)
    assert set(book.notes) == {min(RANGES)}, "the other partitions' notes are there already"


def test_one_that_begins_writes_all_notes_until_they_are_there() -> None:
    book = FakeNotebook()
    diary = Diary(cast("Notebook", book), replace(BEGUN, progress=Progress()), anew=True)
    diary.turn(Progress(), 0)
    assert begun_of(book.notes) == replace(BEGUN, progress=Progress())
    book.notes, book.under_way, book.problem = {}, False, "progress cannot be written"
    diary.turn(Progress(begun=7), 0)
    assert not diary.is_kept(Progress())
    book.under_way, book.problem = False, None
    diary.turn(Progress(begun=7), 0)
    assert diary.is_kept(Progress(begun=7))
    assert begun_of(book.notes) == replace(BEGUN, progress=Progress(begun=7))


def test_a_refused_write_is_written_again() -> None:
    book = FakeNotebook()
    diary = Diary(cast("Notebook", book), replace(BEGUN, progress=Progress()), anew=False)
    diary.turn(FULL, 3)
    book.under_way, book.problem = False, "progress cannot be written: GROUP_AUTHORIZATION_FAILED"
    diary.turn(FULL, 3)
    assert (book.writes, diary.unsaved, diary.problem) == (2, 3, book.problem)


def test_a_dry_run_writes_nothing_and_is_never_held_up() -> None:
    diary = Diary(None, BEGUN, anew=True)
    diary.turn(Progress(begun=7), 9)
    assert diary.kept == Progress(begun=7)
    assert diary.is_kept(Progress(begun=7))
    assert (diary.unsaved, diary.problem) == (0, None)


def test_how_a_job_begins() -> None:
    done = replace(BEGUN, progress=Progress(done=True))
    later = replace(BEGUN, ranges={**RANGES, P1: Offsets(7, 12)}, progress=Progress())
    assert decide(None, later, restart=False) == (Beginning.ANEW, later)
    assert decide(BEGUN, later, restart=False) == (Beginning.AGAIN, BEGUN), "with the range that it began with"
    assert decide(BEGUN, later, restart=True) == (Beginning.ANEW, later)
    assert decide(done, replace(BEGUN, progress=Progress()), restart=False) == (Beginning.FINISHED, done)
    assert decide(done, later, restart=False) == (Beginning.ANEW, later)
    with pytest.raises(Unreadable, match="begun with other options"):
        decide(BEGUN, replace(BEGUN, filters="ffff0000"), restart=False)


def test_a_name_is_made_of_the_options_or_given() -> None:
    assert name_of(None, {"from": "-2h"}) == name_of(None, {"from": "-2h"}) != name_of(None, {"from": "-3h"})
    assert name_of("friday_2.b", {}) == "friday_2.b"
    for bad in ("", "a b", "x" * 101, "ü"):
        with pytest.raises(Unreadable, match="--name"):
            name_of(bad, {})


def test_filters_do_not_depend_on_the_order() -> None:
    one, two = identifier("phone=+15551230001"), identifier("email=a@example.com")
    assert filters_of([one, two], {"users-file": "a"}) == filters_of([two, one], {"users-file": "b"})
    assert len({filters_of(None, {}), filters_of([], {}), filters_of([one], {}), filters_of(None, {"to": "-2h"})}) == 4


def test_a_new_replay_has_made_no_progress() -> None:
    assert wanted({P0: Reach(3, 9, 0)}, "f") == Begun({P0: Offsets(3, 9)}, "f", Progress())
