"""What the worker relies on from a `Subscription`, on the embedded mock and on a real Kafka.

Read a test's name after its class: "Commits ... that wait outlast a rebalance".
"""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from tests.kafka.member import DEADLINE_SECONDS, Member, numbered, produce, until
from tests.support.brokers import Broker, LocalBroker, unique_name
from tests.support.producers import ordered_producer
from worker.core.model import Partition
from worker.kafka.member import SourceFailed

# Most of the time goes into waiting for groups to form.
pytestmark = pytest.mark.slow

PROTOCOLS = {
    "cooperative": {},
    "eager": {"partition.assignment.strategy": "range"},
    "kip-848": {"group.protocol": "consumer"},
}


# Each rebalance takes the mock seconds, so it runs the default protocol alone.
_PAIRS = [
    pytest.param("mock", "cooperative", id="mock-cooperative"),
    *(pytest.param("real", name, marks=pytest.mark.kafka, id=f"real-{name}") for name in PROTOCOLS),
]


per_protocol = pytest.mark.parametrize(("broker", "protocol"), _PAIRS, indirect=True)


@pytest.fixture
def protocol(request: pytest.FixtureRequest) -> dict[str, str]:
    return PROTOCOLS[request.param]


class TestRecords:
    def test_come_in_order_each_once(self, broker: Broker, topic: str, group: str) -> None:
        produce(broker, topic, numbered(1000))
        with Member(broker, topic, group) as member:
            until(lambda: len(member.records) >= 1000, member)
        for number in range(4):
            assert member.offsets(Partition(topic, number)) == list(range(250))
            values = [int(record.value or b"") for record in member.records if record.partition.number == number]
            assert values == list(range(number, 1000, 4))

    def test_carry_key_trace_time_and_a_missing_value(self, broker: Broker, topic: str, group: str) -> None:
        producer = ordered_producer(broker.bootstrap_servers)
        headers: list[tuple[str, str | bytes | None]] = [
            ("traceparent", b"00-ab-cd-01"),
            ("empty", b""),
            ("null", None),
            ("traceparent", b"again"),
        ]
        producer.produce(topic, key=b"user", value=None, headers=headers, timestamp=1_700_000_000_123)
        producer.flush(10)
        with Member(broker, topic, group) as member:
            until(lambda: bool(member.records), member)
        [record] = member.records
        assert (record.key, record.value, record.timestamp_ms) == (b"user", None, 1_700_000_000_123)
        assert record.headers == (("traceparent", b"again"),)

    def test_a_poll_brings_few_large_records(self, broker: Broker, topic: str, group: str) -> None:
        """The memory budget is checked between two polls only."""
        produce(broker, topic, [(number % 4, b"x" * 20_000) for number in range(600)])
        polled: list[int] = []
        with Member(broker, topic, group, {"queued.max.messages.kbytes": "65536"}) as member:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while sum(polled) < 600:
                assert time.monotonic() < deadline, polled
                polled.append(len(member.poll()))
        assert max(polled) * 20_000 < 3 * 1024 * 1024

    def test_a_poll_that_took_all_that_it_may_says_that_more_may_wait(
        self, broker: Broker, topic: str, group: str
    ) -> None:
        produce(broker, topic, numbered(4))
        with Member(broker, topic, group) as member:
            until(lambda: bool(member.records), member)
            assert not member.subscription.more_waits
            produce(broker, topic, numbered(4))
            taken: list[int] = []
            deadline = time.monotonic() + DEADLINE_SECONDS
            while sum(taken) + len(member.records) < 8:
                assert time.monotonic() < deadline, taken
                taken.append(len(member.subscription.poll(0.02, 1)))
                if taken[-1]:
                    assert member.subscription.more_waits
            assert max(taken) == 1

    def test_poll_returns_with_the_first_record(self, broker: Broker, topic: str, group: str) -> None:
        """Otherwise each record that trickles in would wait for the whole time-out."""
        with Member(broker, topic, group) as member:
            produce(broker, topic, [(0, b"warm up")])
            until(lambda: bool(member.records), member)
            produce(broker, topic, [(0, b"trickle")])
            started = time.monotonic()
            while not member.poll(timeout_seconds=20):  # the end of the partition ends a wait, too
                pass
            assert time.monotonic() - started < 10

    def test_of_a_paused_partition_come_once_it_resumes(self, broker: Broker, topic: str, group: str) -> None:
        produce(broker, topic, numbered(4000))
        first, second = Partition(topic, 0), Partition(topic, 1)
        with Member(broker, topic, group) as member:
            until(lambda: bool(member.offsets(first)), member)
            member.subscription.pause([first, Partition(topic, 99)])
            seen = len(member.offsets(first))
            until(lambda: len(member.offsets(second)) >= 1000, member)
            assert len(member.offsets(first)) == seen
            member.subscription.resume([first])
            until(lambda: len(member.records) >= 4000, member)
        assert member.offsets(first) == list(range(1000))

    def test_end_offsets_of_a_paused_partition_stay_current(self, broker: Broker, topic: str, group: str) -> None:
        produce(broker, topic, numbered(40))
        paused = Partition(topic, 0)
        with Member(broker, topic, group) as member:
            until(lambda: len(member.records) >= 40, member)
            member.subscription.pause([paused])
            produce(broker, topic, [(0, b"unseen")] * 5)
            until(lambda: member.subscription.end_offsets().get(paused) == 15, member)
        assert len(member.offsets(paused)) == 10


class TestCommits:
    @per_protocol
    def test_are_where_the_next_member_begins(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        produce(broker, topic, numbered(100))
        committed = {Partition(topic, 0): 10, Partition(topic, 1): 25}
        with Member(broker, topic, group, protocol) as member:
            until(lambda: len(member.records) >= 100, member)
            member.subscription.commit(committed, wait=True)
            assert member.subscription.committed() == committed
        with Member(broker, topic, group, protocol) as member:
            until(lambda: len(member.records) >= 65, member)
            member.subscription.notes(committed)
            assert member.subscription.committed() == committed, "it must know the former member's commits"
        assert member.offsets(Partition(topic, 0)) == list(range(10, 25))
        assert not member.offsets(Partition(topic, 1))
        assert member.offsets(Partition(topic, 2)) == list(range(25))

    def test_without_waiting_are_acknowledged_later(self, broker: Broker, topic: str, group: str) -> None:
        partition = Partition(topic, 0)
        with Member(broker, topic, group) as member:
            until(lambda: member.subscription.joined, member)
            member.subscription.commit({partition: 3})
            until(lambda: member.subscription.committed() == {partition: 3}, member)

    def test_of_a_partition_that_is_not_held_are_not_counted(self, broker: Broker, topic: str, group: str) -> None:
        with Member(broker, topic, group) as member:
            until(lambda: member.subscription.joined, member)
            member.subscription.commit({Partition(topic, 99): 3}, wait=True)
            assert not member.subscription.committed()

    @pytest.mark.parametrize("broker", [pytest.param("real", marks=pytest.mark.kafka)], indirect=True)
    def test_that_wait_outlast_a_rebalance(self, broker: Broker, topic: str, group: str) -> None:
        """A member commits while another one joins: no commit may get lost, or records are delivered again."""
        produce(broker, topic, numbered(4000))
        with Member(broker, topic, group) as member:
            until(lambda: len(member.held) == 4, member)
            for joining in range(8):
                with Member(broker, topic, group) as other:
                    for offset in range(1 + 100 * joining, 100 + 100 * joining):
                        other.poll()
                        offsets = dict.fromkeys(member.held, offset)
                        member.subscription.commit(offsets, wait=True)
                        assert offsets.items() <= member.subscription.committed().items()
                        member.poll()
                        if len(other.held) == 2:
                            break
                    assert len(other.held) == 2


class TestGroup:
    @per_protocol
    def test_a_second_member_takes_its_share(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        with Member(broker, topic, group, protocol) as first:
            until(lambda: len(first.held) == 4, first)
            with Member(broker, topic, group, protocol) as second:
                until(lambda: len(first.held) == len(second.held) == 2, first, second)
                assert not first.held & second.held
                assert first.subscription.joined
                assert second.subscription.joined
        moved = [partitions for kind, partitions in first.events if kind == "revoked"]
        assert len(moved[0]) == (4 if "partition.assignment.strategy" in protocol else 2)

    @per_protocol
    def test_what_is_committed_in_a_revoke_is_where_the_other_member_begins(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        """This is what a drain relies on: a planned handover delivers nothing twice."""
        # While it rebalances, the mock refuses all classic commits; Kafka accepts those of members in their revoke.
        lenient = not broker.real and protocol is not PROTOCOLS["kip-848"]

        def drain(member: Member, partitions: list[Partition]) -> None:
            positions = member.positions()
            going = {partition: positions[partition] for partition in partitions if partition in positions}
            member.subscription.commit(going, wait=True)
            if member.open and not lenient:  # `close` sends commits without waiting for each answer
                assert going.items() <= member.subscription.committed().items()

        produce(broker, topic, numbered(400))
        with Member(broker, topic, group, protocol, drain) as first:
            until(lambda: len(first.records) >= 400, first)
            with Member(broker, topic, group, protocol) as second:
                until(lambda: len(first.held) == len(second.held) == 2, first, second)
                produce(broker, topic, numbered(40))
                until(lambda: len(first.records) + len(second.records) >= 440, first, second)
                assert not first.subscription.committed().keys() & second.held
                assert lenient or len(first.records) + len(second.records) == 440

    @per_protocol
    def test_a_member_that_closes_hands_over_at_once(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        """The other member gets the partitions long before the session time-out of 45 s."""
        with Member(broker, topic, group, protocol) as first, Member(broker, topic, group, protocol) as second:
            until(lambda: len(first.held) == len(second.held) == 2, first, second)
            first.close()
            assert first.events[-1][0] == "revoked"
            assert not first.held
            until(lambda: len(second.held) == 4, second, seconds=10)

    @per_protocol
    def test_a_member_without_a_partition_counts_as_joined(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        members = [Member(broker, topic, group, protocol) for _ in range(5)]
        until(lambda: sorted(len(member.held) for member in members) == [0, 1, 1, 1, 1], *members)
        until(lambda: all(member.subscription.joined for member in members), *members)
        for member in members:
            member.close()

    def test_a_member_that_stopped_polling_finds_its_partitions_lost(
        self, broker: Broker, topic: str, group: str
    ) -> None:
        """A frozen worker wakes: it learns that its partitions are lost before any further record, and joins again."""
        produce(broker, topic, numbered(40))
        limit = "1500" if broker.real else "4000"  # the mock forgets a member before its first rebalance, at 3 s
        hasty = {"max.poll.interval.ms": limit, "session.timeout.ms": limit}
        with Member(broker, topic, group, hasty) as frozen, Member(broker, topic, group, hasty) as other:
            until(lambda: len(frozen.held) == len(other.held) == 2, frozen, other)
            until(lambda: len(other.held) == 4, other)
            assert len(frozen.held) == 2
            until(lambda: ("lost", frozenset(frozen.held)) in frozen.events or not frozen.held, frozen)
            assert [kind for kind, _ in frozen.events if kind != "assigned"][-1] == "lost"
            until(lambda: len(frozen.held) == len(other.held) == 2, frozen, other)
            assert frozen.subscription.joined

    @per_protocol
    def test_what_is_committed_in_a_close_is_where_the_next_member_begins(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        produce(broker, topic, numbered(40))
        with Member(broker, topic, group, protocol, lambda m, _: m.subscription.commit(m.positions())) as first:
            until(lambda: len(first.records) >= 40, first)
        produce(broker, topic, numbered(4))
        with Member(broker, topic, group, protocol) as second:
            until(lambda: len(second.records) >= 4, second)
        assert {record.offset for record in second.records} == {10}

    @per_protocol
    def test_a_member_that_rejoins_gets_its_partitions_anew(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        with Member(broker, topic, group, protocol) as member:
            until(lambda: len(member.held) == 4, member)
            member.subscription.rejoin()
            until(lambda: len(member.events) >= 3 and len(member.held) == 4, member)
        assert [kind for kind, _ in member.events[:3]] == ["assigned", "revoked", "assigned"]

    @per_protocol
    def test_a_paused_partition_that_comes_back_is_read(
        self, broker: Broker, topic: str, group: str, protocol: dict[str, str]
    ) -> None:
        with Member(broker, topic, group, protocol) as member:
            until(lambda: len(member.held) == 4, member)
            member.subscription.pause(member.held)
            member.subscription.rejoin()
            until(lambda: len(member.events) >= 3 and len(member.held) == 4, member)
            produce(broker, topic, numbered(4))
            until(lambda: len(member.records) >= 4, member)

    def test_a_member_that_rejoins_is_out_of_the_group_until_its_next_assignment(
        self, broker: Broker, topic: str, group: str
    ) -> None:
        with Member(broker, topic, group) as member:
            until(lambda: len(member.held) == 4, member)
            member.subscription.rejoin()
            assert not member.subscription.joined
            until(lambda: member.subscription.joined, member)
            assert [kind for kind, _ in member.events] == ["assigned", "revoked", "assigned"]

    @pytest.mark.kafka
    def test_brokers_that_are_away_for_longer_than_the_session_put_a_member_out(self, own_broker: LocalBroker) -> None:
        """Also one that has no partition, and so nothing to lose: nobody else would tell."""
        own_broker.start()
        own_broker.create_topic("away", 1)
        with Member(own_broker, "away", "g") as holding, Member(own_broker, "away", "g") as idle:
            until(lambda: holding.subscription.joined and idle.subscription.joined, holding, idle)
            own_broker.pause()
            until(lambda: not holding.subscription.joined and not idle.subscription.joined, holding, idle)
            own_broker.resume()
            until(lambda: holding.subscription.joined and idle.subscription.joined, holding, idle, seconds=40)

    def test_an_error_in_a_callback_comes_out_of_poll(self, broker: Broker, topic: str, group: str) -> None:
        def broken(_: Member, __: list[Partition]) -> None:
            raise LookupError("drain failed")

        with Member(broker, topic, group, on_revoked=broken) as first:
            until(lambda: len(first.held) == 4, first)
            with (
                Member(broker, topic, group) as second,
                pytest.raises(LookupError, match="drain failed"),
            ):
                until(lambda: bool(second.held), first, second)
            with pytest.raises(LookupError):
                first.close()


@pytest.mark.kafka
def test_a_frozen_broker_holds_up_neither_a_commit_nor_a_close(own_broker: LocalBroker) -> None:
    """librdkafka's own synchronous commit and close would wait for minutes here, past any drain deadline."""
    own_broker.start()
    own_broker.create_topic("frozen", 1)
    with Member(own_broker, "frozen", "g") as member:
        until(lambda: len(member.held) == 1, member)
        own_broker.pause()
        started = time.monotonic()
        member.subscription.commit({Partition("frozen", 0): 0}, wait=True, timeout_seconds=1)
        member.open = False
        member.subscription.close(timeout_seconds=1)
        assert time.monotonic() - started < 6
        assert member.events[-1][0] == "revoked"


class TestProblems:
    def test_an_unknown_topic_is_named_and_forgotten_when_it_comes(
        self, broker: Broker, topic: str, group: str
    ) -> None:
        missing = unique_name("missing")
        # Every refresh delays the mock's first rebalance by 3 s.
        refresh = {"topic.metadata.refresh.interval.ms": "1000" if broker.real else "5000"}
        with Member(broker, [topic, missing], group, refresh) as member:
            until(lambda: missing in (member.subscription.problem or ""), member)
            until(lambda: len(member.held) == 4, member)  # the other topic works all the same
            broker.create_topic(missing, 4)
            until(lambda: len(member.held) == 8, member)
            assert member.subscription.problem is None

    def test_a_missing_start_offset_that_must_not_be_reset_raises(self, broker: Broker, topic: str, group: str) -> None:
        """librdkafka reports it once and then silently reads nothing, so the worker must end."""
        produce(broker, topic, numbered(4))
        with (
            Member(broker, topic, group, {"auto.offset.reset": "error"}) as member,
            pytest.raises(SourceFailed, match=r"auto\.offset\.reset"),
        ):
            until(lambda: bool(member.records), member)

    def test_a_pattern_finds_topics(self, broker: Broker, group: str) -> None:
        prefix = unique_name("pattern")
        for name in ("a", "b"):
            broker.create_topic(f"{prefix}-{name}", 4)
        with Member(broker, f"^{prefix}-.*", group) as member:
            until(lambda: len(member.held) == 8, member)

    def test_a_pattern_is_never_asked_for_as_if_it_were_a_topic(
        self, broker: Broker, group: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Asked for metadata, librdkafka would write the pattern unescaped into its statistics: they are no JSON."""
        monkeypatch.setattr("worker.kafka.missing_topics._RECHECK_SECONDS", 0.0)
        name = unique_name("later")
        pattern = rf"^{name}\..*"
        refresh = {"topic.metadata.refresh.interval.ms": "1000", "statistics.interval.ms": "100"}
        with Member(broker, pattern, group, refresh) as member:
            deadline = time.monotonic() + 2.5
            until(lambda: time.monotonic() > deadline, member)  # before, `poll` raised: statistics were no JSON
            broker.create_topic(f"{name}.a", 4)
            until(lambda: len(member.held) == 4, member)
            assert member.subscription.problem is None

    @pytest.mark.kafka
    @pytest.mark.parametrize(
        ("old", "new", "advice"),
        [
            (PROTOCOLS["eager"], {}, "partition.assignment.strategy"),
            ({}, {"session.timeout.ms": "400"}, "set it between"),
        ],
        ids=["an old eager member", "a session time-out out of bounds"],
    )
    def test_a_group_that_lets_nobody_in_stays_a_problem_until_it_does(
        self, real_kafka: Broker, group: str, *, old: dict[str, str], new: dict[str, str], advice: str
    ) -> None:
        topic = unique_name("refused")
        real_kafka.create_topic(topic, 4)
        often = {"statistics.interval.ms": "100"}
        with Member(real_kafka, topic, group, old) as member:
            until(lambda: bool(member.held), member)
            with capture_logs() as lines, Member(real_kafka, topic, group, {**new, **often}) as refused:
                until(lambda: advice in (refused.subscription.problem or ""), member, refused)
                deadline = time.monotonic() + 2
                while time.monotonic() < deadline:
                    refused.poll()
                    member.poll()
                    assert advice in (refused.subscription.problem or "")
                assert not refused.subscription.joined
                if old:
                    member.close()
                    until(lambda: bool(refused.held), refused)
                    assert refused.subscription.problem is None
            assert not [line for line in lines if line["event"] == "kafka_well_again"]

    def test_a_broker_that_does_not_answer_is_explained_in_words(self, group: str) -> None:
        class Nowhere:
            real = False
            bootstrap_servers = "127.0.0.1:1"

            def create_topic(self, *_: object) -> None: ...

            def stop(self) -> None: ...

        with Member(Nowhere(), "any", group) as member:
            until(lambda: "no broker answers" in (member.subscription.problem or ""), member)
            assert "Connection refused" in (member.subscription.problem or "")
            assert not member.subscription.joined
