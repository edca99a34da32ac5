"""Which letters are open, in whatever order their records are read."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from worker.core.letters.folding import DISMISSED, OPEN, REFUSED_AGAIN, Folding, Place, beginning_of, resolution_of
from worker.core.model import Letter, LostAttribute, Partition, Reason, Source, User

SOURCE = Partition("profiles", 0)


def letter(letter_id: str, attempts: int = 1, failed_at_ms: int = 0) -> Letter:
    return Letter(
        reason=Reason.REJECTED,
        detail="refused",
        failed_at_ms=failed_at_ms,
        attempts=attempts,
        sources=(Source(SOURCE, 4, 0, "event"),),
        user=User(phone="+13115550001"),
        attributes=(LostAttribute("points", 4, None, SOURCE, 4),),
        record_key=b"key",
        id=letter_id,
    )


def ended(of: Letter, detail: str = DISMISSED, at_ms: int = 9) -> Letter:
    return resolution_of(of, detail, at_ms)


def folded(letters: Sequence[Letter], order: Sequence[int] | None = None, **part: int) -> Folding:
    """Folds letters that lie at offsets 0, 1, … of a partition, read in some order."""
    folding = Folding(**part)
    for offset in order if order is not None else range(len(letters)):
        folding.take(letters[offset], Place(0, offset))
    return folding


def standing(folding: Folding, letters: Sequence[Letter]) -> list[int]:
    return [offset for offset, each in enumerate(letters) if folding.stands(each, Place(0, offset))]


def test_a_letter_is_open_until_a_record_of_its_id_ends_it() -> None:
    assert folded([letter("a"), letter("b"), ended(letter("b"))]).state("a") == OPEN
    assert folded([letter("a"), letter("b"), ended(letter("b"))]).state("b") == DISMISSED


def test_a_letter_that_was_written_twice_is_one_and_its_first_record_stands_for_it() -> None:
    letters = [letter("a", failed_at_ms=1), letter("a", failed_at_ms=2)]
    assert standing(folded(letters), letters) == [0]


def test_a_duplicate_behind_the_resolution_does_not_open_the_letter_again() -> None:
    letters = [letter("a"), ended(letter("a")), letter("a", failed_at_ms=20)]
    assert folded(letters).state("a") == DISMISSED


def test_a_letter_refused_again_is_open_again_whichever_record_comes_first() -> None:
    again = letter("a", attempts=2)
    for letters in (
        [letter("a"), again, ended(letter("a"), REFUSED_AGAIN)],
        [letter("a"), ended(letter("a"), REFUSED_AGAIN), again],
    ):
        folding = folded(letters)
        assert folding.state("a") == OPEN
        assert standing(folding, letters) == [letters.index(again)]
    assert folded([letter("a"), again, ended(letter("a"), REFUSED_AGAIN), ended(again)]).state("a") == DISMISSED


def test_a_resolution_without_its_letter_is_nothing_to_show() -> None:
    letters = [ended(letter("a"))]
    assert standing(folded(letters), letters) == []


def test_a_resolution_holds_no_user_and_no_value() -> None:
    end = ended(letter("a"))
    assert (end.user, end.attributes, end.record_value, end.answer) == (None, (), None, None)
    assert (end.id, end.record_key, end.sources[0].offset, end.attempts) == ("a", b"key", 4, 1)


RECORDS = st.lists(
    st.builds(
        lambda letter_id, attempts, at_ms, ends: (
            ended(letter(letter_id, attempts), DISMISSED, at_ms) if ends else letter(letter_id, attempts, at_ms)
        ),
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=12,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_reading_changes_nothing(letters: list[Letter], rng: object) -> None:
    order = list(range(len(letters)))
    rng.shuffle(order)  # type: ignore[attr-defined]  # Hypothesis' own kind of random.Random
    one, other = folded(letters), folded(letters, order)
    assert standing(one, letters) == standing(other, letters)
    assert [one.state(letter_id) for letter_id in "abc"] == [other.state(letter_id) for letter_id in "abc"]


@given(RECORDS, st.integers(1, 4))
def test_the_parts_together_are_the_whole(letters: list[Letter], parts: int) -> None:
    whole = folded(letters)
    found = {}
    for part in range(parts):
        folding = folded(letters, parts=parts, part=part)
        for offset in standing(folding, letters):
            assert offset not in found
            found[offset] = folding.state(letters[offset].id)
    assert found == {offset: whole.state(letters[offset].id) for offset in standing(whole, letters)}


def test_a_letter_is_doubtful_from_its_mark_to_its_end() -> None:
    begun = [letter("a", attempts=2), beginning_of(letter("a", attempts=2), 5)]
    assert [folded(begun[:count]).is_doubtful("a") for count in (1, 2)] == [False, True]
    assert not folded([*begun, ended(letter("a", attempts=2))]).is_doubtful("a")
    assert not folded([*begun, letter("a", attempts=3)]).is_doubtful("a")  # refused again: nobody has tried this one
    assert standing(folded(begun), begun) == [0]
    assert folded(begun).state("a") == OPEN
