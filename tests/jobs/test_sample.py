"""A sample of users: the same in each run, whatever the order, the memory and the number of passes."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.core.drive import P0, P1
from worker.core.model import Source, User, UserKey
from worker.core.replay.scope import place_of
from worker.jobs.sample import Sample

PLENTY = 10**9
USERS = [UserKey("phone", "", f"+1311{number:07d}") for number in range(60)]


def filled(changes: list[int], users_max: int | None, bytes_max: int = PLENTY, after: int = -1) -> Sample:
    """A sample of these users' changes, in this order. A change's value is its offset."""
    sample = Sample(users_max, bytes_max, after)
    for offset, number in enumerate(changes):
        key = USERS[number]
        sample.take(key, User(phone=key.value), {"count": offset, f"of-{offset % 3}": "x"}, Source(P0, offset, 0))
    return sample


def expected(changes: list[int], users_max: int | None) -> list[UserKey]:
    return sorted({USERS[number] for number in changes}, key=place_of)[:users_max]


@given(st.lists(st.integers(0, 59), max_size=200), st.integers(1, 20))
def test_it_has_the_users_of_the_lowest_hashes_with_their_last_values(changes: list[int], users_max: int) -> None:
    sample = filled(changes, users_max)
    assert sorted((each.key for each in sample), key=place_of) == expected(changes, users_max)
    assert not sample.cut
    for each in sample:
        last = max(offset for offset, number in enumerate(changes) if USERS[number] == each.key)
        assert (each.last["count"].value, each.last["count"].source.offset) == (last, last)


@given(st.lists(st.integers(0, 59), max_size=200), st.integers(1, 40), st.integers(1, 8))
def test_several_passes_in_little_memory_have_the_same_users(changes: list[int], users_max: int, at_once: int) -> None:
    found: list[UserKey] = []
    after, passes = -1, 0
    while True:
        sample = filled(changes, users_max - len(found), bytes_max=2_000 * at_once, after=after)
        found += sorted((each.key for each in sample), key=place_of)
        after, passes = sample.last_place, passes + 1
        if not sample.cut or len(found) == users_max:
            break
        assert passes <= len(changes)
    assert found == expected(changes, users_max)


def test_without_a_bound_everybody_is_in_it() -> None:
    changes = [random.Random(seed).randrange(60) for seed in range(300)]
    assert len(filled(changes, None)) == len(set(changes))


def test_once_closed_it_lets_nobody_in_and_nobody_go() -> None:
    sample = filled([0, 1], 2, bytes_max=1_000_000)
    sample.close()
    for offset, key in enumerate(USERS):
        sample.take(key, User(phone=key.value), {"count": "x" * 100_000}, Source(P0, offset, 0))
    assert {each.key for each in sample} == set(USERS[:2])
    assert {each.last["count"].value for each in sample} == {"x" * 100_000}


def test_of_two_partitions_the_later_time_counts_and_within_one_the_order() -> None:
    sample = Sample(1, PLENTY)
    for offset, (partition, at_ms) in enumerate([(P0, 100), (P1, 90), (P0, 80), (P1, 95), (P1, 70)]):
        sample.take(USERS[0], User(phone=USERS[0].value), {"a": offset}, Source(partition, offset, at_ms))
    [subject] = sample
    assert subject.last["a"].value == 4, "80 ms is newer than 100 within P0, 95 than 80 between the two, 70 within P1"


def test_a_user_keeps_the_latest_identifier_of_each_kind() -> None:
    key = UserKey("client_user_id", "", "c-1")
    sample = Sample(1, PLENTY)
    for offset, user in enumerate((User(client_user_id="c-1", email="a@x.com"), User(client_user_id="c-1"))):
        sample.take(key, user, {"a": 1}, Source(P0, offset, 0))
    [subject] = sample
    assert subject.user == User(client_user_id="c-1", email="a@x.com")
