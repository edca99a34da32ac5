"""The search for refused attributes, against destinations that refuse whole calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.delivery.isolation import Isolation

CALLS_MAX = 500


class Search:
    """Drives a search to its end. `refuses` plays the destination. `calls` counts the first, whole call too."""

    def __init__(self, names: Collection[str], refuses: Callable[[Collection[str]], bool]) -> None:
        self.calls = 1
        self.delivered: list[str] = []
        self.refused: list[str] = []
        isolation = Isolation(names, refused=True)
        while isolation.trial:
            self.calls += 1
            assert self.calls < CALLS_MAX, "the search does not end"
            assert sorted([*isolation.names, *self.delivered, *self.refused]) == sorted(names), "a name was lost"
            if refuses(isolation.trial):
                alone = isolation.refused()
                self.refused += [alone] if alone is not None else []
            else:
                self.delivered += isolation.accepted()
        assert isolation.names == []


def names_of(count: int) -> list[str]:
    return [f"a{number}" for number in range(count)]


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_every_good_name_is_delivered_and_every_bad_one_is_refused_once_alone(case: tuple[int, set[int]]) -> None:
    count, numbers = case
    names = names_of(count)
    bad = {names[number] for number in numbers}
    search = Search(names, lambda trial: not bad.isdisjoint(trial))
    assert sorted(search.delivered) == sorted(set(names) - bad)
    assert sorted(search.refused) == sorted(bad)
    assert search.calls <= 1 + len(bad) * (math.ceil(math.log2(count)) + 2)


@pytest.mark.parametrize("number", range(20))
def test_one_bad_among_twenty_costs_few_calls_wherever_it_is(number: int) -> None:
    names = names_of(20)
    search = Search(names, lambda trial: names[number] in trial)
    assert search.refused == [names[number]]
    assert search.calls <= 2 * math.log2(20) + 2


@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), st.integers(1, 40))
def test_a_name_that_fits_alone_is_never_lost_to_a_call_that_was_too_large(sizes: list[int], limit: int) -> None:
    """A 413 refuses a call for its size: halves of it pass."""
    size = dict(zip(names_of(len(sizes)), sizes, strict=True))
    search = Search(list(size), lambda trial: sum(size[name] for name in trial) > limit)
    assert set(search.refused) == {name for name in size if size[name] > limit}
    assert set(search.delivered) == {name for name in size if size[name] <= limit}


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=2, max_size=8),
)
def test_a_refused_name_is_tried_again_with_each_value_before_it(values: list[list[bool]]) -> None:
    """Each name has a list of values, newest first. True stands for a value that the destination accepts."""
    left = dict(zip(names_of(len(values)), ([*taken] for taken in values), strict=True))
    isolation = Isolation(left, refused=True)
    delivered: list[str] = []
    for _ in range(CALLS_MAX):
        if not isolation.trial:
            break
        if all(left[name][0] for name in isolation.trial):
            delivered += isolation.accepted()
            continue
        alone = isolation.refused()
        if alone is not None:
            assert not left[alone].pop(0), "a good value was refused alone"
            if left[alone]:
                isolation.again(alone)
    assert isolation.names == []
    assert sorted(delivered) == sorted(name for name, rest in left.items() if rest)
    assert all(rest[0] for rest in left.values() if rest)
