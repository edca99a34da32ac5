"""Sparing: what is remembered, when it is forgotten, and the first promise with everything that goes on beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.core.drive import ABORTED, OK, P0, P1, REFUSED, TIMEOUT, Account, Driver, key, phone
from tests.core.test_equivalence import ATTRIBUTES, PARTITIONS, USERS, Equivalence, partition_of
from tests.support.allocations import traced
from worker.core.facts import Facts
from worker.core.model import Call, Partition, Reply, Scalar, Source, User
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.sparing import Sparing


def spared(*partitions: Partition, **limits: float) -> Driver:
    usual: dict[str, Any] = {"sparing_users_max": 10, "sparing_seconds": 100.0}
    return Driver(*partitions, **(usual | limits))


def deliver(driver: Driver, user: int, attributes: Mapping[str, object], partition: Partition = P0) -> None:
    driver.change(user, attributes, partition)
    driver.reply(driver.call(), OK)


def calls(driver: Driver) -> list[Mapping[str, Scalar]]:
    return [call.properties for call in driver.calls()]


def test_an_unchanged_change_is_settled_without_a_call_and_counts_as_saved() -> None:
    driver = spared()
    deliver(driver, 1, {"tier": "gold", "age": 40})
    offset = driver.change(1, {"tier": "gold"})
    assert not driver.calls()
    assert driver.committable == offset + 1
    totals = driver.engine.totals
    assert (totals.changes, totals.calls, totals.calls_saved) == (2, 1, 1)
    assert (totals.spared_changes, totals.spared_values) == (1, 1)
    assert driver.status.remembered_users == 1


def test_only_what_changed_is_in_the_call() -> None:
    driver = spared()
    deliver(driver, 1, {"tier": "gold", "age": 40})
    driver.change(1, {"tier": "gold", "age": 41, "city": "Ulm"})
    assert calls(driver) == [{"age": 41, "city": "Ulm"}]


def test_without_the_setting_nothing_is_remembered() -> None:
    driver = Driver()
    deliver(driver, 1, {"tier": "gold"})
    driver.record(b"\xff")
    assert driver.status.remembered_users == driver.status.remembered_bytes == 0
    driver.change(1, {"tier": "gold"})
    assert calls(driver) == [{"tier": "gold"}]


def test_values_are_the_same_only_if_they_are_written_alike() -> None:
    kinds: list[Scalar] = [1, True, 1.0, "1", 0.0, -0.0, 0, "", Decimal("1.0"), Decimal("1.00")]
    for before in kinds:
        for after in kinds:
            sparing, ledger = Sparing(1, 100.0, Memory(10**6, Facts())), Ledger(P0)
            remember(sparing, ledger, before)
            left = changed(sparing, ledger, after)
            assert bool(left) == (repr(before) != repr(after)), (before, after)


def changed(sparing: Sparing, ledger: Ledger, value: Scalar, sent: User | None = None) -> Mapping[str, Scalar]:
    return sparing.changed(key(1), sent, {"a": value}, ledger, 1.0)


def remember(sparing: Sparing, ledger: Ledger, value: Scalar, user: int = 1, offset: int = 0) -> None:
    entry = Entry(key(user), 0.0)
    entry.absorb(Change(ledger, key(user), Source(ledger.partition, offset, 0), {"a": value}))
    entry.begin()
    entry.trial.calls = entry.trial.answered = 1
    sparing.delivered(entry, Call(1, entry.user, {"a": value}, 1.0), 0.0)


def test_a_value_that_was_overtaken_in_the_window_is_forgotten() -> None:
    """A replay may have sent the value in between, and be done."""
    driver = spared(window_seconds=5.0)
    driver.change(1, {"tier": "gold"})
    driver.advance(5.0)
    driver.reply(driver.call(), OK)
    driver.change(1, {"tier": "silver"})
    driver.change(1, {"tier": "gold"})
    driver.advance(5.0)
    assert calls(driver) == [{"tier": "gold"}]


def test_what_changed_while_its_call_was_in_flight_is_not_remembered() -> None:
    driver = spared()
    driver.change(1, {"tier": "gold", "age": 40})
    call = driver.call()
    driver.change(1, {"tier": "silver"})
    driver.reply(call, OK)
    second = driver.call()
    driver.change(1, {"tier": "gold", "age": 40})
    driver.reply(second, OK)
    assert calls(driver) == [{"tier": "gold"}]


@pytest.mark.parametrize("reply", [TIMEOUT, ABORTED, Reply(500), Reply(429)], ids=str)
def test_a_call_after_one_that_may_have_been_applied_is_not_remembered(reply: Reply) -> None:
    driver = spared()
    deliver(driver, 1, {"tier": "gold"})
    driver.change(1, {"tier": "silver"})
    driver.reply(driver.call(), reply)
    driver.change(1, {"tier": "gold"})
    driver.run(lambda call: OK if call.properties == {"tier": "gold"} else REFUSED, 60.0)
    assert driver.sent[-1].properties == {"tier": "gold"}
    driver.change(1, {"tier": "gold"})
    driver.run(lambda _: OK, 60.0)
    driver.change(1, {"tier": "gold"})
    assert not driver.calls()
    assert [call.properties["tier"] for call in driver.sent] == ["gold", "silver", "gold", "gold"]


def test_the_value_before_a_refused_one_is_not_remembered() -> None:
    """A redrive may deliver the refused one later."""
    driver = spared(window_seconds=5.0)
    driver.change(1, {"tier": "gold"})
    driver.change(1, {"tier": "lead"})
    account = Account(lambda _, value: value == "lead")
    driver.run(account, 60.0)
    assert account.of(1) == {"tier": "gold"}
    driver.change(1, {"tier": "gold"})
    driver.advance(5.0)
    call = driver.call()
    assert call.properties == {"tier": "gold"}
    driver.reply(call, OK)  # it is later than the letter, which is superseded by it
    driver.change(1, {"tier": "gold"})
    driver.advance(5.0)
    assert not driver.calls()


@pytest.mark.parametrize("when", ["delivered", "in flight", "waiting"])
def test_a_value_that_cannot_be_sent_is_forgotten(when: str) -> None:
    driver = spared()
    driver.change(1, {"tier": "gold", "n" * 201: 1})
    call = None if when == "waiting" else driver.call()
    if call is not None and when == "delivered":
        driver.reply(call, OK)
    driver.change(1, {"n" * 201: 1, "tier": float("nan")})
    if when != "delivered":
        driver.reply(call or driver.call(), OK)
    driver.change(1, {"tier": "gold"})
    assert calls(driver) == [{"tier": "gold"}]


@pytest.mark.parametrize("in_flight", [True, False])
def test_a_record_that_cannot_be_read_empties_its_partition(in_flight: bool) -> None:  # noqa: FBT001 - parametrized
    """A redrive may read it once its schema is known, and then nobody here knows whom it changed."""
    driver = spared(P0, P1)
    for user, partition in ((1, P0), (2, P1)):
        driver.change(user, {"tier": "gold"}, partition)
    flying = driver.calls()
    for call in [] if in_flight else flying:
        driver.reply(call, OK)
    driver.record(b"\xff", P0)
    for call in flying if in_flight else []:
        driver.reply(call, OK)
    for user, partition in ((1, P0), (2, P1)):
        driver.change(user, {"tier": "gold"}, partition)
    call = driver.call()
    assert call.user.phone == phone(1)
    driver.reply(call, OK)
    driver.change(1, {"tier": "gold"})
    assert not driver.calls()


def test_a_partition_that_went_away_takes_its_users_along() -> None:
    driver = spared(P0, P1)
    deliver(driver, 1, {"tier": "gold"}, P0)
    deliver(driver, 2, {"tier": "gold"}, P1)
    driver.engine.dropped([P0])
    assert driver.status.remembered_users == 1
    driver.engine.assigned([P0])
    driver.change(1, {"tier": "gold"}, P0)
    driver.change(2, {"tier": "gold"}, P1)
    assert driver.call().user.phone == phone(1)


def test_a_reply_that_comes_after_its_partition_is_not_remembered() -> None:
    driver = spared()
    driver.change(1, {"tier": "gold"})
    call = driver.call()
    driver.engine.dropped([P0])
    driver.engine.assigned([P0])
    driver.reply(call, OK)
    assert driver.status.remembered_users == 0


def test_a_value_of_another_partition_is_another_value() -> None:
    driver = spared(P0, P1)
    deliver(driver, 1, {"tier": "gold"}, P0)
    driver.change(1, {"tier": "gold"}, P1)
    driver.reply(driver.call(), OK)
    driver.change(1, {"tier": "gold"}, P1)
    assert not driver.calls()


def test_other_identifiers_may_find_another_profile() -> None:
    sparing, ledger = Sparing(1, 100.0, Memory(10**6, Facts())), Ledger(P0)
    remember(sparing, ledger, "gold")
    assert changed(sparing, ledger, "gold", User(phone=phone(1), email="a@example.com"))
    assert changed(sparing, ledger, "gold")


def test_a_value_is_sent_again_when_it_is_too_old_since_its_call_started() -> None:
    driver = spared(sparing_seconds=10.0, timeout_seconds=60.0)
    driver.change(1, {"tier": "gold"})
    call = driver.call()
    driver.advance(5.0)
    driver.reply(call, OK)
    driver.advance(5.0)
    driver.change(1, {"tier": "gold"})
    assert not driver.calls()
    driver.advance(0.1)
    driver.change(1, {"tier": "gold"})
    assert len(driver.calls()) == 1


def test_the_least_recently_used_users_go_first() -> None:
    driver = spared(sparing_users_max=2)
    for user in (1, 2):
        deliver(driver, user, {"tier": "gold"})
    driver.change(1, {"tier": "gold"})
    deliver(driver, 3, {"tier": "gold"})
    for user in (1, 2, 3):
        driver.change(user, {"tier": "gold"})
    assert driver.call().user.phone == phone(2)
    assert driver.status.remembered_users == 2


def test_remembered_values_take_half_of_the_budget_at_most() -> None:
    """Else they could pause all partitions, and no delivery would ever free them."""
    driver = spared(sparing_users_max=10_000, max_bytes=100_000)
    for user in range(200):
        deliver(driver, user, {"tier": "x" * 1_000})
    status = driver.status
    assert 40_000 < status.remembered_bytes == status.held_bytes <= 50_000
    deliver(driver, 1_000, {"tier": "x" * 60_000})
    assert driver.status.remembered_bytes == driver.status.held_bytes == 0


def test_remembered_values_give_way_to_changes_that_wait() -> None:
    driver = spared(sparing_users_max=10_000, max_bytes=100_000, window_seconds=0.0)
    for user in range(100):
        deliver(driver, user, {"tier": "x" * 1_000})
    for user in range(1_000, 1_045):
        driver.change(user, {"tier": "x" * 1_000})
    assert driver.engine.paused()
    driver.calls(0)
    assert not driver.engine.paused()
    assert driver.status.remembered_users < 20


@pytest.mark.parametrize("names", [1, 6, pytest.param(20, marks=pytest.mark.slow)])
def test_what_is_remembered_is_counted(names: int) -> None:
    driver, users = spared(sparing_users_max=10_000), 500
    deliver(driver, users, {"a": 1})
    counted = driver.status.remembered_bytes
    with traced() as allocated:
        for user in range(users):
            deliver(driver, user, {f"attribute_{number}": user + 1_000.5 for number in range(names)})
            driver.sent.clear()
        driver.engine.facts()
        real = allocated()
    assert 0.85 < (driver.status.remembered_bytes - counted) / real < 1.5


class Beside(Equivalence):
    """With everything that goes on beside a worker that spares.

    Partitions move to another owner and back. Replay and redrive send what the log's last value was when they read it,
    and read on after their call until no value is newer: each of these steps may meet any step of the worker. Refused
    values are accepted from some time on, which is what a redrive is for.
    """

    LIMITS: ClassVar[Mapping[str, float]] = {"sparing_users_max": 2, "sparing_seconds": 1_000.0}

    def __init__(self) -> None:
        super().__init__()
        self.in_the_air: dict[tuple[int, str], int] = {}  # the offset of what a job is about to send
        self.landed: dict[tuple[int, str], int] = {}
        self.refused_elsewhere: set[tuple[int, str, int]] = set()  # by another owner: these letters are not here

    def value(self, user: int, name: str, offset: int) -> int | None:
        who, attributes = self.log[partition_of(user)][offset]
        return attributes.get(name) if who == user else None

    def newest(self, user: int, name: str, after: int = -1) -> int | None:
        """The offset of the last change that the destination does not refuse now."""
        for offset in range(len(self.log[partition_of(user)]) - 1, after, -1):
            value = self.value(user, name, offset)
            if value is not None and not self.account.refuses(name, value):
                return offset
        return None

    @rule(user=st.sampled_from(USERS), value=st.sampled_from([1, 1, 2, 9]), settle=st.booleans())
    def change_one(self, user: int, value: int, settle: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.change(user, {"a": value})
        if settle:
            self.settle()

    @rule()
    def settle(self) -> None:
        """All goes well for a while."""
        for _ in range(4):
            for call in self.flying:
                self.driver.reply(call, self.account(call))
            self.driver.advance(2.0)
            self.flying = self.driver.calls()
        self.driver.post()
        if not (self.flying or self.driver.engine.open_entries or self.in_the_air or self.landed):
            self.check_last(accepted=(1, 2))

    @rule()
    def redrive(self) -> None:
        """Whole, between two steps of the worker."""
        self.extend()
        self.redrive_reads()
        self.finish_jobs()

    @rule()
    def extend(self) -> None:
        self.account.refuses = lambda _, value: value in (7, 8)

    @rule(partition=st.sampled_from(PARTITIONS), user=st.sampled_from(USERS), attributes=ATTRIBUTES)
    def lend(self, partition: Partition, user: int, attributes: dict[str, int]) -> None:
        """Another owner sends what is not committed, and a change more, each alone. Then the partition comes back."""
        for call in self.driver.engine.dropped([partition]):
            self.flying.remove(call)
            self.driver.reply(call, ABORTED)
        if partition_of(user) == partition:
            self.log[partition].append((user, attributes))
        for offset in range(self.committed[partition], len(self.log[partition])):
            who, changed = self.log[partition][offset]
            good = {name: value for name, value in changed.items() if not self.account.refuses(name, value)}
            self.account.of(who).update(good)
            self.refused_elsewhere |= {(who, name, offset) for name in changed.keys() - good.keys()}
        self.committed[partition] = len(self.log[partition])
        self.driver.engine.assigned([partition])

    @rule(user=st.sampled_from(USERS), value=st.sampled_from([1, 2]))
    def lend_between_equal_values(self, user: int, value: int) -> None:
        self.change_one(user, value, settle=True)
        self.lend(partition_of(user), user, {"a": 3 - value})
        self.change_one(user, value, settle=True)

    @rule(user=st.sampled_from(USERS), name=st.sampled_from("abc"))
    def replay_reads(self, user: int, name: str) -> None:
        newest = self.newest(user, name)
        if newest is not None and (user, name) not in {*self.in_the_air, *self.landed}:
            self.in_the_air[user, name] = newest

    @rule()
    def redrive_reads(self) -> None:
        for letter in self.driver.written:
            for lost in letter.attributes:
                user = next(user for user in USERS if letter.user == User(phone=phone(user)))
                value = self.value(user, lost.name, lost.offset)
                assert value is not None
                changes = range(lost.offset + 1, len(self.log[lost.partition]))
                later = any(self.value(user, lost.name, offset) is not None for offset in changes)
                busy = (user, lost.name) in {*self.in_the_air, *self.landed}
                if not (later or busy or self.account.refuses(lost.name, value)):
                    self.in_the_air[user, lost.name] = lost.offset

    @precondition(lambda self: self.in_the_air)
    @rule(data=st.data())
    def call_lands(self, data: st.DataObject) -> None:
        self.lands(*data.draw(st.sampled_from(sorted(self.in_the_air))))

    def lands(self, user: int, name: str) -> None:
        offset = self.landed[user, name] = self.in_the_air.pop((user, name))
        value = self.value(user, name, offset)
        assert value is not None
        self.account.of(user)[name] = value

    @precondition(lambda self: self.landed)
    @rule(data=st.data())
    def job_reads_on(self, data: st.DataObject) -> None:
        self.reads_on(*data.draw(st.sampled_from(sorted(self.landed))))

    def reads_on(self, user: int, name: str) -> None:
        newer = self.newest(user, name, self.landed.pop((user, name)))
        if newer is not None:
            self.in_the_air[user, name] = newer

    def check_end(self) -> None:
        """The jobs run to their end, then each last value stands. (Where that is refused, jobs may differ: skipped.)"""
        self.redrive()
        self.check_last(accepted=(1, 2, 9))

    def finish_jobs(self) -> None:
        while self.in_the_air or self.landed:
            for which in list(self.in_the_air):
                self.lands(*which)
            for which in list(self.landed):
                self.reads_on(*which)

    def check_last(self, accepted: Collection[int]) -> None:
        """Each last value in the log stands, if it is one of these."""
        for user in USERS:
            for name in "abc":
                offsets = range(len(self.log[partition_of(user)]))
                last = max((at for at in offsets if self.value(user, name, at) is not None), default=None)
                if last is not None and (user, name, last) not in self.refused_elsewhere:
                    value = self.value(user, name, last)
                    assert value not in accepted or self.account.of(user)[name] == value, (user, name, value)


TestBeside = pytest.mark.slow(Beside.TestCase)
TestBeside.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
