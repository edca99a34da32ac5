"""The window: values go out in order, each user has one call in flight at most, and no value is lost."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.drive import P0, P1, key
from worker.core.delivery.isolation import Isolation
from worker.core.facts import Facts
from worker.core.model import Partition, Source
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.trouble import Trouble
from worker.core.waiting.window import Window

SECONDS = 5.0


def memory_of() -> Memory:
    return Memory(10**9, Facts())


def window_of(seconds: float, memory: Memory | None = None) -> Window:
    return Window(seconds, memory or memory_of())


class Log:
    """Writes changes into a window: the value of attribute `a` is the record's offset."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.offset = 0

    def change(self, user: int, ledger: Ledger, now: float) -> bool:
        offset = self.offset = self.offset + 1
        change = Change(ledger, key(user), Source(ledger.partition, offset, offset), {"a": offset})
        shared = self.window.absorb(key(user), change, now)
        ledger.read(offset)
        return shared


def taken(window: Window, now: float, *, hurry: bool = False) -> list[tuple[int, object]]:
    """Takes everything that is due: (user, value)."""
    found: list[tuple[int, object]] = []
    while (entry := window.take(now, hurry=hurry)) is not None:
        found.append((number_of(entry), entry.fold()["a"]))
    return found


def number_of(entry: Entry) -> int:
    return int(entry.key.value[5:])


def one(entry: Entry | None) -> Entry:
    assert entry is not None
    return entry


def test_entries_become_due_in_the_order_of_their_first_change() -> None:
    window, ledger = window_of(SECONDS), Ledger(P0)
    log = Log(window)
    for user, now in ((1, 0.0), (2, 1.0), (3, 2.0), (1, 4.0)):
        log.change(user, ledger, now)
    assert window.next_due() == SECONDS
    assert taken(window, 4.9) == []
    assert taken(window, 6.5) == [(1, 4), (2, 2)]
    assert taken(window, 7.0) == [(3, 3)]


def test_a_window_of_0_seconds_sends_at_once() -> None:
    window = window_of(0.0)
    Log(window).change(1, Ledger(P0), 3.0)
    assert taken(window, 3.0) == [(1, 1)]


def test_while_a_call_is_in_flight_the_next_entry_of_its_user_waits() -> None:
    window, ledger = window_of(SECONDS), Ledger(P0)
    log = Log(window)
    log.change(1, ledger, 0.0)
    first = one(window.take(5.0))
    log.change(1, ledger, 6.0)
    log.change(2, ledger, 7.0)
    log.change(1, ledger, 8.0)
    assert taken(window, 99.0) == [(2, 3)]
    assert ledger.committable == 1
    window.settle(first)
    assert ledger.committable == 2
    assert taken(window, 99.0) == [(1, 4)]


def test_a_retry_waits_for_its_time_and_carries_newer_changes() -> None:
    memory, ledger = memory_of(), Ledger(P0)
    window = window_of(SECONDS, memory)
    log = Log(window)
    log.change(1, ledger, 0.0)
    entry = one(window.take(5.0))
    log.change(1, ledger, 6.0)
    entry.trial.trouble = Trouble()
    window.retry(entry, 20.0)
    log.change(1, ledger, 7.0)
    assert len(window) == 1
    assert taken(window, 19.9) == []
    assert window.next_due() == 20.0
    assert taken(window, 20.0) == [(1, 3)]
    assert ledger.committable == 1
    window.settle(entry)
    assert (ledger.committable, memory.held_bytes, len(window)) == (4, 0, 0)


def test_retries_of_one_instant_go_in_the_order_in_which_they_failed() -> None:
    window, ledger = window_of(0.0), Ledger(P0)
    log = Log(window)
    for user in (1, 2, 3):
        log.change(user, ledger, 0.0)
    entries = [one(window.take(0.0)) for _ in range(3)]
    for entry in (entries[1], entries[2], entries[0]):
        window.retry(entry, 9.0)
    assert taken(window, 9.0) == [(2, 2), (3, 3), (1, 1)]


def test_entries_that_failed_go_behind_all_others_unless_it_is_their_turn() -> None:
    window, ledger = window_of(0.0), Ledger(P0)
    log = Log(window)
    for user in (1, 2):
        log.change(user, ledger, 0.0)
    for entry in [one(window.take(0.0)) for _ in range(2)]:
        entry.trial.trouble = Trouble()
        window.retry(entry, 1.0)
    for user in (3, 4):
        log.change(user, ledger, 2.0)
    turns = [window.take(9.0), window.take(9.0, failed_first=True), window.take(9.0), window.take(9.0)]
    assert [one(entry).key for entry in turns] == [key(3), key(1), key(4), key(2)]


def test_an_entry_that_is_searched_keeps_newer_changes_out() -> None:
    window, ledger = window_of(SECONDS), Ledger(P0)
    log = Log(window)
    log.change(1, ledger, 0.0)
    entry = one(window.take(5.0))
    entry.trial.isolation = Isolation(["a", "b"], refused=True)
    log.change(1, ledger, 6.0)
    window.retry(entry, 20.0)
    log.change(1, ledger, 7.0)
    assert taken(window, 99.0) == [(1, 1)]
    window.settle(entry)
    assert taken(window, 99.0) == [(1, 3)]


def test_make_due_makes_only_the_entries_of_these_partitions_due() -> None:
    window, leaving, staying = window_of(SECONDS), Ledger(P0), Ledger(P1)
    log = Log(window)
    log.change(1, leaving, 0.0)
    log.change(2, staying, 0.0)
    log.change(3, staying, 0.0)
    assert log.change(3, leaving, 0.0)
    window.make_due([leaving])
    assert taken(window, 1.0) == [(1, 1), (3, 4)]
    assert taken(window, 5.0) == [(2, 2)]


def test_an_entry_made_due_early_still_waits_for_its_user() -> None:
    window, ledger = window_of(SECONDS), Ledger(P0)
    log = Log(window)
    log.change(1, ledger, 0.0)
    first = one(window.take(5.0))
    log.change(1, ledger, 5.0)
    window.make_due([ledger])
    assert taken(window, 6.0) == []
    window.settle(first)
    assert taken(window, 6.0) == [(1, 2)]


def test_hurry_takes_entries_that_are_not_due() -> None:
    window = window_of(SECONDS)
    Log(window).change(1, Ledger(P0), 0.0)
    assert taken(window, 0.0, hurry=True) == [(1, 1)]


def test_probes_take_users_in_turn_so_that_one_bad_user_cannot_keep_the_gate_closed() -> None:
    window, ledger = window_of(0.0), Ledger(P0)
    log = Log(window)
    for user in (1, 2, 3):
        log.change(user, ledger, 0.0)
    probed = []
    for number in range(7):
        entry = one(window.take_probe())
        probed.append(number_of(entry))
        window.retry(entry, 50.0 + number)
    assert probed == [3, 2, 1, 3, 2, 1, 3]


def test_forgetting_a_partition_drops_its_waiting_entries_and_returns_those_in_flight() -> None:
    window, ledger = window_of(0.0), Ledger(P0)
    log = Log(window)
    log.change(1, ledger, 0.0)
    flying = one(window.take(0.0))
    log.change(1, ledger, 0.0)
    log.change(2, ledger, 0.0)
    ledger.drop()
    assert window.forget({ledger}) == [flying]
    assert taken(window, math.inf) == []


def test_a_user_of_a_dropped_partition_waits_until_its_call_has_ended() -> None:
    """With two requests for one user in flight, the older value might be applied last."""
    window, ledger = window_of(0.0), Ledger(P0)
    log = Log(window)
    log.change(1, ledger, 0.0)
    flying = one(window.take(0.0))
    ledger.drop()
    window.forget({ledger})
    again = Ledger(P0)
    log.change(1, again, 1.0)
    assert taken(window, 99.0) == []
    window.orphan_call_ended(flying)
    assert taken(window, 99.0) == [(1, 2)]


class WindowModel(RuleBasedStateMachine):
    """Three users in two partitions. Their calls succeed, fail, start a search, or lose their partition."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = memory_of()
        self.window = window_of(SECONDS, self.memory)
        self.log = Log(self.window)
        self.now = 0.0
        self.ledgers: dict[Partition, Ledger] = {P0: Ledger(P0), P1: Ledger(P1)}
        self.flying: list[tuple[Entry, int, Ledger]] = []
        self.orphans: list[Entry] = []
        self.newest: dict[tuple[int, Ledger], int] = {}  # the newest value in the log
        self.reached: dict[tuple[int, Ledger], int] = {}  # the highest value that a call carried

    @rule(user=st.integers(1, 3), partition=st.sampled_from([P0, P1]))
    def change(self, user: int, partition: Partition) -> None:
        ledger = self.ledgers[partition]
        self.log.change(user, ledger, self.now)
        self.newest[user, ledger] = self.log.offset

    @rule(seconds=st.sampled_from([0.5, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(how=st.sampled_from(["due", "hurry", "probe"]))
    def take(self, how: str) -> None:
        next_due = self.window.next_due()
        entry = self.window.take_probe() if how == "probe" else self.window.take(self.now, hurry=how == "hurry")
        if how == "due":
            assert entry is None or next_due <= self.now
        if entry is not None:
            self.fly(entry)

    def fly(self, entry: Entry) -> None:
        user = number_of(entry)
        assert user not in [number_of(other) for other, _, _ in self.flying], "two calls for one user"
        newest = entry.newest()
        if not newest:  # its only value was dropped with its partition
            self.window.settle(entry)
            return
        value, ledger = newest["a"][0], newest["a"][1].ledger
        assert isinstance(value, int)
        assert ledger.live, "a call with a value of a dropped partition"
        assert value >= self.reached.get((user, ledger), 0), "an older value after a newer one"
        self.reached[user, ledger] = value
        self.flying.append((entry, value, ledger))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), how=st.sampled_from(["settle", "retry", "search"]), delay=st.sampled_from([0.0, 2.0, 9.0]))
    def reply(self, data: st.DataObject, how: str, delay: float) -> None:
        flight = data.draw(st.sampled_from(self.flying))
        self.flying.remove(flight)
        self.land(flight[0], how, delay)

    def land(self, entry: Entry, how: str, delay: float) -> None:
        if not entry.holds:
            self.orphans.remove(entry)
            self.window.orphan_call_ended(entry)
        elif how == "settle":
            entry.trial.isolation = None
            self.window.settle(entry)
        else:
            entry.trial.isolation = (
                Isolation(["a", "b"], refused=True) if how == "search" or entry.trial.isolation else None
            )
            self.window.retry(entry, self.now + delay)

    @rule(partition=st.sampled_from([P0, P1]))
    def make_due(self, partition: Partition) -> None:
        self.window.make_due([self.ledgers[partition]])

    @rule(partition=st.sampled_from([P0, P1]))
    def drop(self, partition: Partition) -> None:
        ledger = self.ledgers[partition]
        ledger.drop()
        orphans = self.window.forget({ledger})
        self.orphans += orphans
        assert set(self.orphans) == {entry for entry, _, _ in self.flying if not entry.holds}
        self.ledgers[partition] = Ledger(partition)

    @invariant()
    def memory_is_counted(self) -> None:
        assert self.memory.held_bytes == sum(entry.size_bytes for entry in self.window.entries())
        assert len(self.window) == len(list(self.window.entries()))
        keys = [entry.key for entry in self.window.entries() if entry.trial.isolation is None]
        assert len(keys) <= 2 * len(set(keys))

    @invariant()
    def nothing_open_is_committable(self) -> None:
        for ledger in self.ledgers.values():
            held = [entry.holds[ledger] for entry in self.window.entries() if ledger in entry.holds]
            assert ledger.committable == min(held, default=ledger.position)

    def teardown(self) -> None:
        """From now on all calls succeed: each newest value must arrive, and everything must be settled."""
        for flying, _, _ in self.flying:
            self.land(flying, "settle", 0.0)
        self.flying.clear()
        while (entry := self.window.take(math.inf)) is not None:
            self.fly(entry)
            self.flying.clear()
            if entry.holds:
                entry.trial.isolation = None
                self.window.settle(entry)
        for (user, ledger), value in self.newest.items():
            reached = max((at for (who, _), at in self.reached.items() if who == user), default=0)
            assert reached >= value or not ledger.live, "a value was lost"
        assert (len(self.window), self.memory.held_bytes) == (0, 0)
        for ledger in self.ledgers.values():
            assert ledger.idle
            assert ledger.committable == ledger.position


TestWindowModel = WindowModel.TestCase
TestWindowModel.settings = settings(max_examples=settings().max_examples * 2, stateful_step_count=40)
