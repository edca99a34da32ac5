"""An entry against a simple model: each change is sent alone, in log order, to a destination that refuses some values.

The entry may send fewer calls, but it must end with the same state and the letters that the model allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.facts import Facts
from worker.core.model import Headers, Partition, Scalar, Source, User, UserKey
from worker.core.waiting.change import CHANGE_BYTES, Change, typed
from worker.core.waiting.changes import FURTHER_BYTES, Changes
from worker.core.waiting.entry import ENTRY_BYTES, Entry, Place
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory

KEY = UserKey("phone", "", "+13115552368")
# Some are equal in Python (1, True, 1.0), but different to the destination.
VALUES: st.SearchStrategy[Scalar] = st.sampled_from([0, 1, 2, True, False, 1.0, 0.0, "1", "", None])
ATTRIBUTES = st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1)


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
        change = self.change(step)
        entry.absorb(change)
        change.ledger.read(self.offset)
        return change

    def change(self, step: Step) -> Change:
        ledger = self.ledgers[step.partition]
        self.offset += 1
        return Change(ledger, KEY, Source(ledger.partition, self.offset, timestamp_ms=self.offset), step.attributes)


def entry_of(log: Log, steps: Iterable[Step]) -> Entry:
    entry = Entry(KEY, 0.0)
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
    entry.begin()
    while not entry.is_empty:
        for name, value in entry.fold().items():
            if typed(value) not in refused:
                state[name] = typed(value)
                entry.done([name])
                continue
            letters.append((name, typed(value)))
            assert entry.step_back(name) == (name in entry.fold())
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
    entry.begin()
    for steps in (second, third):
        newer = entry_of(log, steps)
        entry.merge(newer)
        assert (newer.place, newer.fold(), newer.holds) == (Place.GONE, {}, {})
    assert entry.count == len(first) + len(second) + len(third)
    assert entry.size_bytes >= ENTRY_BYTES + sum(change.size_bytes for change in entry.changes)
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
    assert {lost.name: lost.offset for lost in entry.lost(entry.fold())} == offsets
    assert {source.offset for source in entry.sources(entry.fold())} == set(offsets.values())
    assert len(entry.sources(entry.fold())) == len(set(offsets.values()))


@given(STEPS)
def test_an_entry_grows_only_with_distinct_values(steps: list[Step]) -> None:
    """Once repeats are dropped. The first change of a partition stays, and the newest one, for what else they hold."""
    log = Log()
    changes = Changes([log.change(steps[0])])
    size = changes[0].size_bytes + FURTHER_BYTES
    for step in steps[1:]:
        change = log.change(step)
        changes.hold(change)
        changes.append(change)
        size += change.size_bytes + FURTHER_BYTES
    size += changes.drop_repeats()
    distinct = {(step.partition, name, typed(value)) for step in steps for name, value in step.attributes.items()}
    kept = [(change.ledger, name, typed(value)) for change in changes for name, value in change.fold().items()]
    assert len(kept) == len(set(kept)) == len(distinct)
    assert size == sum(change.size_bytes + FURTHER_BYTES for change in changes)
    assert len(changes) <= len(distinct) + len(changes.ledgers) + 1


@given(st.lists(VALUES, min_size=40, max_size=80))
def test_repeats_are_sought_before_there_are_many(values: list[Scalar]) -> None:
    log, entry = Log(), Entry(KEY, 0.0)
    for value in values:
        log.take(entry, Step(0, {"a": value}))
    distinct = len(set(map(typed, values)))
    assert len(entry.changes) <= 3 * distinct + 20
    assert entry.count == len(values)
    assert entry.size_bytes >= CHANGE_BYTES * len(entry.changes)


def test_while_memory_is_plentiful_repeats_are_sought_among_a_thousand() -> None:
    log, entry, memory = Log(), Entry(KEY, 0.0), Memory(1_000_000, Facts())
    for number in range(1_000):
        assert len(entry.changes) == number
        entry.absorb(log.change(Step(0, {"a": 1})), plentiful=memory.plentiful)
    assert len(entry.changes) == 2
    memory.add(250_000)
    assert not memory.plentiful
    for _ in range(100):
        entry.absorb(log.change(Step(0, {"a": 1})), plentiful=memory.plentiful)
    assert len(entry.changes) < 25
    memory.add(-1)
    assert memory.plentiful


def test_where_nothing_repeats_repeats_are_seldom_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while memory is plentiful: to seek takes as long as there are changes."""
    sought: list[int] = []
    seek = Changes.drop_repeats

    def seeking(changes: Changes) -> int:
        sought.append(len(changes))
        return seek(changes)

    monkeypatch.setattr(Changes, "drop_repeats", seeking)
    log, entry = Log(), Entry(KEY, 0.0)
    for number in range(3_000):
        entry.absorb(log.change(Step(0, {"a": number})), plentiful=True)
    assert len(sought) < 5


def test_of_two_partitions_nothing_is_sought_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find a partition's first change takes the longer, the more there are."""
    log = Log()
    entry = entry_of(log, [Step(0, {"a": 0}), Step(1, {"a": 1})])
    monkeypatch.delattr(Changes, "_first_of")
    for number in range(10):
        log.take(entry, Step(number % 2, {"a": number}))
    assert len(entry.changes) == 12


def test_an_entry_that_was_not_called_has_no_trial_to_write_to() -> None:
    """All of these have the same one."""
    entry = Entry(KEY, 0.0)
    with pytest.raises(AttributeError, match="no trial of its own"):
        entry.trial.calls += 1
    entry.begin()
    entry.trial.calls += 1
    assert (entry.trial.calls, Entry(KEY, 0.0).trial.calls) == (1, 0)


@given(
    st.none() | st.text(max_size=9),
    st.none() | st.binary(max_size=9) | st.just(KEY.value.encode()),
    st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    st.none() | st.just(User(email="a@b.example")),
    st.sampled_from([(), (("traceparent", b"00"),)]),
    st.booleans(),
    st.sampled_from(["gold", "\ud800", "", 2**70, -0.0, True, None, Decimal("1.10"), Decimal("-0E-7"), Decimal("1e9")]),
)
def test_a_change_gives_back_all_that_it_was_made_of(
    event_id: str | None,
    record_key: bytes | None,
    occurred_at_ms: int | None,
    sent: User | None,
    headers: Headers,
    elsewhere: bool,  # noqa: FBT001 - drawn
    value: Scalar,
) -> None:
    ledger = Ledger(Partition("t", 0))
    source = Source(Partition("u", 3) if elsewhere else ledger.partition, 2**40, 1_700_000_000_000, event_id)
    values: dict[str, Scalar] = {"tier": value, "age": 40}
    change = Change(
        ledger,
        KEY,
        source,
        values,
        sent=sent,
        occurred_at_ms=occurred_at_ms,
        record_key=record_key,
        headers=headers,
    )
    assert (change.ledger, change.source, change.fold()) == (ledger, source, values)
    assert repr(change.fold()) == repr(values)
    assert (change.record_key(KEY), change.occurred_at_ms) == (record_key, occurred_at_ms)
    assert (change.sent, change.headers, change.partition) == (sent, headers, source.partition)
    less = change.without({"age"})
    assert (less.fold(), less.source, less.sent, less.is_empty) == ({"tier": value}, source, sent, False)
    assert (less.record_key(KEY), less.partition, less.headers) == (record_key, source.partition, headers)
    assert (less.emptied().fold(), less.emptied().is_empty) == ({}, True)
    assert "gold" not in f"{change!r}{change}{change.names!r}"


@pytest.mark.parametrize("merged", [False, True])
def test_an_older_record_makes_the_entry_hold_the_older_offset(merged: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """An entry is open; the log goes back (unclean leader election) and brings an older record of the same user."""
    log = Log()
    log.offset = 6
    entry = entry_of(log, [Step(0, {"a": 1})])
    log.offset = 3
    log.ledgers[0].went_back = True
    if merged:
        entry.begin()
        entry.merge(entry_of(log, [Step(0, {"a": 2})]))
    else:
        log.take(entry, Step(0, {"a": 2}))
    log.offset = 9
    log.take(entry, Step(0, {"a": 3}))
    assert log.ledgers[0].committable == 4
    entry.settle()
    assert log.ledgers[0].idle
