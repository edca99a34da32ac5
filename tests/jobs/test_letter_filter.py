"""Which letters are meant by what was typed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worker.core.model import Letter, LostAttribute, Partition, Reason, Source, User
from worker.core.rules.identity import IdentityRules
from worker.jobs.letter_filter import LetterFilter, SourcePlace, source_place
from worker.jobs.users import Users, identifier
from worker.jobs.when import Unreadable

PLACE = Partition("profiles", 2)
LETTER = Letter(
    reason=Reason.REJECTED,
    detail="",
    failed_at_ms=1_000,
    attempts=1,
    sources=(Source(PLACE, 7, 0),),
    user=User(email="a@example.com"),
    attributes=(LostAttribute("loyalty_points", 4, None, PLACE, 7),),
)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (LetterFilter(), True),
        (LetterFilter(reasons=frozenset({Reason.REJECTED, Reason.NOT_FOUND})), True),
        (LetterFilter(reasons=frozenset({Reason.NOT_FOUND})), False),
        (LetterFilter(since_ms=1_000), True),
        (LetterFilter(since_ms=1_001), False),
        (LetterFilter(until_ms=1_001), True),
        (LetterFilter(until_ms=1_000), False),
        (LetterFilter(users=Users([identifier("email=a@EXAMPLE.com")], IdentityRules())), True),
        (LetterFilter(users=Users([identifier("email=b@example.com")], IdentityRules())), False),
        (LetterFilter(attributes=("x", "loyalty_*")), True),
        (LetterFilter(attributes=("loyalty",)), False),
        (LetterFilter(sources=(SourcePlace("profiles", None, None),)), True),
        (LetterFilter(sources=(SourcePlace("profiles", 2, 7),)), True),
        (LetterFilter(sources=(SourcePlace("profiles", 2, 8),)), False),
        (LetterFilter(sources=(SourcePlace("profiles", 0, None),)), False),
        (LetterFilter(since_ms=0, attributes=("other",)), False),
    ],
)
def test_a_letter_fits_all_kinds_of_filters_that_are_given(wanted: LetterFilter, fits: bool) -> None:  # noqa: FBT001 - pytest gives it
    assert wanted.fits(LETTER) is fits


def test_a_letter_without_a_user_is_nobodys() -> None:
    nobody = replace(LETTER, user=None)
    assert LetterFilter().fits(nobody)
    assert not LetterFilter(users=Users([identifier("phone=+13115550001")], IdentityRules())).fits(nobody)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("profiles", SourcePlace("profiles", None, None)),
        ("a.b-c/3", SourcePlace("a.b-c", 3, None)),
        ("profiles/3:120", SourcePlace("profiles", 3, 120)),
    ],
)
def test_a_source_is_a_topic_a_partition_or_a_record(text: str, expected: SourcePlace) -> None:
    assert source_place(text) == expected


@pytest.mark.parametrize("text", ["", "/1", "profiles/", "profiles/x", "profiles/1:", "profiles:1", "profiles/1:-2"])
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="TOPIC/PARTITION:OFFSET"):
        source_place(text)
