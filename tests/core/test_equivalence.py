"""The first two promises, checked on the whole engine: the right final value, and nothing lost.

Three users in two partitions change. Calls succeed, are refused, fail, or are applied though the reply gets lost.
Writes of letters fail. Partitions are lost and come back at their committed offset. At the end the destination must
hold what it would hold if each change had been sent alone, in log order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.drive import ABORTED, P0, P1, STARTED, TIMEOUT, Account, Driver, encode, phone
from worker.core.model import Call, Partition, Record, Reply, Scalar

PARTITIONS = (P0, P1)
USERS = (1, 2, 3)
BAD = (7, 8, 9)
ATTRIBUTES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 2, *BAD]), min_size=1)


def bad(_: str, value: Scalar) -> bool:
    return value in BAD


def partition_of(user: int) -> Partition:
    return PARTITIONS[user % 2]


class Equivalence(RuleBasedStateMachine):
    LIMITS: ClassVar[Mapping[str, float]] = {}

    def __init__(self) -> None:
        super().__init__()
        usual: dict[str, Any] = {"window_seconds": 2.0, "server_error_seconds": 1e9, "calls_per_entry_max": 10_000}
        self.driver = Driver(*PARTITIONS, **(usual | dict(self.LIMITS)))
        self.account = Account(bad)
        self.log: dict[Partition, list[tuple[int, dict[str, int]]]] = {P0: [], P1: []}
        self.committed: dict[Partition, int] = {P0: 0, P1: 0}
        self.flying: list[Call] = []
        self.counts = [0] * 8

    @rule(user=st.sampled_from(USERS), attributes=ATTRIBUTES)
    def change(self, user: int, attributes: dict[str, int]) -> None:
        partition = partition_of(user)
        self.log[partition].append((user, attributes))
        self.deliver(partition, len(self.log[partition]) - 1)

    def deliver(self, partition: Partition, offset: int) -> None:
        user, attributes = self.log[partition][offset]
        record = Record(partition, offset, STARTED.wall_ms, None, encode(user, attributes))
        self.driver.engine.receive([record], self.driver.now)

    @rule(seconds=st.sampled_from([0.1, 2.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.driver.advance(seconds)

    @rule(free=st.sampled_from([1, 9]))
    def send(self, free: int) -> None:
        self.flying += self.driver.calls(free)
        users = [call.user.phone for call in self.flying]
        assert len(users) == len(set(users)), "two calls for one user"

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), reply=st.sampled_from(["true"] * 3 + ["lost", "unavailable", "throttled", "unauthorized"]))
    def reply(self, data: st.DataObject, reply: str) -> None:
        call = data.draw(st.sampled_from(self.flying))
        self.flying.remove(call)
        self.driver.reply(call, self.answer(call, reply))

    def answer(self, call: Call, reply: str) -> Reply:
        match reply:
            case "true":
                return self.account(call)
            case "lost":
                self.account(call)
                return TIMEOUT
            case "unavailable":
                return Reply(503)
            case "throttled":
                return Reply(429)
            case _:
                return Reply(401)

    @rule(works=st.booleans())
    def write_letters(self, works: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.driver.letters_fail = not works
        self.driver.post()

    @rule()
    def commit(self) -> None:
        self.committed.update(self.driver.engine.committable())

    @rule(partition=st.sampled_from(PARTITIONS), aborted=st.booleans())
    def lose(self, partition: Partition, aborted: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        """The partition is lost and comes back at once; reading starts again at the committed offset."""
        for call in self.driver.engine.dropped([partition]):
            if aborted:
                self.flying.remove(call)
                self.driver.reply(call, ABORTED)
        self.driver.engine.assigned([partition])
        for offset in range(self.committed[partition], len(self.log[partition])):
            self.deliver(partition, offset)

    @invariant()
    def commits_are_within_the_log(self) -> None:
        for partition, offset in self.driver.engine.committable().items():
            assert self.committed[partition] <= offset <= len(self.log[partition])

    @invariant()
    def counts_only_grow(self) -> None:
        totals = self.driver.engine.totals
        counts = [totals.records, totals.changes, totals.calls, totals.calls_saved, totals.delivered_entries]
        counts += [totals.retries, totals.ignored, totals.dead_letters.total()]
        assert all(now >= before for now, before in zip(counts, self.counts, strict=True))
        assert totals.calls_saved <= totals.changes
        self.counts = counts

    def teardown(self) -> None:
        for call in self.flying:
            self.driver.reply(call, self.account(call))
        self.driver.letters_fail = False
        self.driver.run(self.account, 300.0)
        engine, held = self.driver.engine, self.driver.engine.held_bytes - self.driver.status.remembered_bytes
        assert (engine.open_entries, engine.letters_waiting, engine.in_flight, held) == (0, 0, 0, 0)
        for partition in PARTITIONS:
            assert engine.committable().get(partition, self.committed[partition]) == len(self.log[partition])
        self.check_end()
        assert engine.totals.replies.total() == engine.totals.calls

    def check_end(self) -> None:
        for user in USERS:
            assert self.account.of(user) == self.sent_alone(user)
        self.check_letters()

    def sent_alone(self, user: int) -> dict[str, int]:
        state: dict[str, int] = {}
        for who, attributes in self.log[partition_of(user)]:
            if who == user:
                state |= {name: value for name, value in attributes.items() if value not in BAD}
        return state

    def check_letters(self) -> None:
        """Letters hold only refused values, and each refused value that is newer than the one the user ended with."""
        written: defaultdict[tuple[str, str], set[object]] = defaultdict(set)
        for letter in self.driver.written:
            assert letter.user is not None
            for attribute in letter.attributes:
                written[str(letter.user.phone), attribute.name].add(attribute.value)
        assert all(values <= set(BAD) for values in written.values())
        for user in USERS:
            for name in "abc":
                above: set[object] = set()
                for who, attributes in self.log[partition_of(user)]:
                    if who == user and name in attributes:
                        value = attributes[name]
                        above = above | {value} if value in BAD else set()
                assert above <= written[phone(user), name]


TestEquivalence = Equivalence.TestCase
TestEquivalence.settings = settings(max_examples=settings().max_examples * 3 // 2, stateful_step_count=50)
