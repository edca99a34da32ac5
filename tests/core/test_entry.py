"""An entry against a simple model: each change is sent alone, in log order, to a destination that refuses some values.

The entry may send fewer calls, but it must end with the same state and the letters that the model allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.model import Partition, Scalar, Source, User, UserKey
from worker.core.waiting.change import ATTRIBUTE_BYTES, Attribute, Change
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.ledger import Ledger

KEY = UserKey("phone", "", "+13115552368")
USER = User(phone="+13115552368")
# Some are equal in Python (1, True, 1.0), but different to the destination.
VALUES: st.SearchStrategy[Scalar] = st.sampled_from([0, 1, 2, True, False, 1.0, 0.0, "1", "", None])
ATTRIBUTES = st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1)


def typed(value: Scalar) -> tuple[type, Scalar]:
    return (type(value), value)


@dataclass(frozen=True)
class Step:
    """One change: the partition that it came by, and what it sets."""

    partition: int
    attributes: Mapping[str, Scalar]


STEPS = st.lists(st.builds(Step, st.integers(0, 1), ATTRIBUTES), min_size=1, max_size=14)


class Log:
    """Two partitions' ledgers, and a change for each record."""

    def __init__(self) -> None:
        self.ledgers = [Ledger(Partition("t", number)) for number in range(2)]
        self.offset = 0

    def take(self, entry: Entry, step: Step) -> Change:
        """Takes the change in as the window does."""
        ledger = self.ledgers[step.partition]
        self.offset += 1
        change = Change(ledger, Source(ledger.partition, self.offset, timestamp_ms=self.offset))
        entry.absorb(USER, change, step.attributes)
        ledger.read(self.offset)
        return change


def entry_of(log: Log, steps: Iterable[Step]) -> Entry:
    entry = Entry(KEY, USER, 0.0)
    for step in steps:
        log.take(entry, step)
    return entry


def alone(steps: Iterable[Step], refused: set[tuple[type, Scalar]]) -> dict[str, tuple[type, Scalar]]:
    """What the destination holds after every change was sent alone."""
    state: dict[str, tuple[type, Scalar]] = {}
    for step in steps:
        state |= {name: typed(value) for name, value in step.attributes.items() if typed(value) not in refused}
    return state


def refused_above(steps: Iterable[Step], name: str, refused: set[tuple[type, Scalar]]) -> list[tuple[type, Scalar]]:
    """The distinct refused values newer than the last accepted one, newest first."""
    found: list[tuple[type, Scalar]] = []
    for step in reversed(list(steps)):
        if name not in step.attributes:
            continue
        value = typed(step.attributes[name])
        if value not in refused:
            break
        if value not in found:
            found.append(value)
    return found


def delivered(
    entry: Entry, refused: set[tuple[type, Scalar]]
) -> tuple[dict[str, tuple[type, Scalar]], list[tuple[str, tuple[type, Scalar]]]]:
    """Sends each attribute alone, stepping back at each refusal; returns the final state and the refused values."""
    state: dict[str, tuple[type, Scalar]] = {}
    letters: list[tuple[str, tuple[type, Scalar]]] = []
    while entry.attributes:
        for name, value in entry.fold().items():
            if typed(value) not in refused:
                state[name] = typed(value)
                del entry.attributes[name]
                continue
            letters.append((name, typed(value)))
            if not entry.attributes[name].step_back():
                del entry.attributes[name]
    return state, letters


REFUSED = st.sets(VALUES.map(typed), max_size=6)


@given(STEPS, REFUSED)
def test_an_entry_ends_in_the_same_state_as_sending_each_change_alone(
    steps: list[Step], refused: set[tuple[type, Scalar]]
) -> None:
    state, letters = delivered(entry_of(Log(), steps), refused)
    assert state == alone(steps, refused)
    for name in "abc":
        assert [value for lost, value in letters if lost == name] == refused_above(steps, name, refused)


@given(STEPS, STEPS, STEPS, REFUSED)
def test_merged_entries_are_as_if_one_entry_had_taken_all_changes(
    first: list[Step], second: list[Step], third: list[Step], refused: set[tuple[type, Scalar]]
) -> None:
    log = Log()
    entry = entry_of(log, first)
    for steps in (second, third):
        newer = entry_of(log, steps)
        entry.merge(newer)
        assert (newer.place, newer.attributes, newer.holds) == (Place.GONE, {}, {})
    assert entry.changes == len(first) + len(second) + len(third)
    assert entry.oldest_ms == 1
    # The entry holds each partition once, at its first change, so settling the entry once frees all its offsets.
    for number, ledger in enumerate(log.ledgers):
        offsets = [at for at, step in enumerate([*first, *second, *third], 1) if step.partition == number]
        assert ledger.committable == (offsets[0] if offsets else None)
    state, letters = delivered(entry, refused)
    assert state == alone([*first, *second, *third], refused)
    assert sorted(map(str, letters)) == sorted(
        str((name, value)) for name in "abc" for value in refused_above([*first, *second, *third], name, refused)
    )
    entry.settle()
    assert all(ledger.idle for ledger in log.ledgers)


@given(STEPS, st.integers(0, 1))
def test_after_a_partition_is_lost_an_entry_is_as_if_it_had_never_seen_it(steps: list[Step], dropped: int) -> None:
    """Also where both partitions brought equal values."""
    log = Log()
    entry = entry_of(log, steps)
    log.ledgers[dropped].drop()
    entry.forget({log.ledgers[dropped]})
    expected = alone([step for step in steps if step.partition != dropped], set())
    assert {name: typed(value) for name, value in entry.fold().items()} == expected
    assert log.ledgers[dropped] not in entry.holds
    entry.settle()
    assert log.ledgers[1 - dropped].idle


@given(STEPS)
def test_a_letter_names_the_record_that_its_value_came_from(steps: list[Step]) -> None:
    log = Log()
    entry = entry_of(log, steps)
    offsets = {name: at for at, step in enumerate(steps, 1) for name in step.attributes}
    assert {name: entry.lost(name).offset for name in entry.attributes} == offsets
    assert {source.offset for source in entry.sources(list(entry.attributes))} == set(offsets.values())
    assert len(entry.sources(list(entry.attributes))) == len(set(offsets.values()))


@given(st.lists(VALUES, min_size=1, max_size=12))
def test_an_item_grows_only_with_distinct_values(values: list[Scalar]) -> None:
    ledger = Ledger(Partition("t", 0))
    changes = [Change(ledger, Source(ledger.partition, offset, 0)) for offset in range(len(values))]
    attribute = Attribute(values[0], changes[0])
    size = changes[0].size_bytes
    for value, change in zip(values[1:], changes[1:], strict=True):
        size += change.size_bytes + attribute.supersede(value, change)
    size += attribute.drop_repeats()
    distinct = len({typed(value) for value in values})
    assert len(list(attribute.history())) == distinct
    assert sum(change.uses for change in changes) == distinct
    kept = sum(change.size_bytes for change in changes if change.uses)
    assert kept <= size <= kept + (distinct - 1) * (ATTRIBUTE_BYTES + 200)


@pytest.mark.parametrize("merged", [False, True])
def test_an_older_record_makes_the_entry_hold_the_older_offset(merged: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """An entry is open; the log goes back (unclean leader election) and brings an older record of the same user."""
    log = Log()
    log.offset = 6
    entry = entry_of(log, [Step(0, {"a": 1})])
    log.offset = 3
    if merged:
        entry.merge(entry_of(log, [Step(0, {"a": 2})]))
    else:
        log.take(entry, Step(0, {"a": 2}))
    log.offset = 9
    log.take(entry, Step(0, {"a": 3}))
    assert log.ledgers[0].committable == 4
    entry.settle()
    assert log.ledgers[0].idle
