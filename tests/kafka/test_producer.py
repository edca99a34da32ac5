"""The dead-letter producer: each letter is acknowledged, or handed back with the error in words."""

from __future__ import annotations

import io
import json
import re
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import fastavro
import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tests.kafka.member import LOG, Member, until
from tests.support.brokers import Broker, LocalBroker, RunningBroker, unique_name
from tests.support.topics import dead_letters as dead_letters_in
from worker.core.letters.codec import Encoded, encode
from worker.core.letters.datum import letter_id
from worker.core.model import Letter, Partition, Reason, Record, Source, WorkerIdentity
from worker.kafka.access import creation_problem, write_problem
from worker.kafka.producer import DeadLetters
from worker.kafka.topics import Admin, TopicsUnavailable, ensure_dead_letter_topic, partition_total

pytestmark = pytest.mark.slow

REFRESH = {"topic.metadata.refresh.interval.ms": "1000"}
SCHEMA = cast("dict[str, object]", fastavro.parse_schema(json.loads(Path("schemas/dead_letter.avsc").read_text())))


def bare(letter: Letter, max_bytes: int) -> Encoded:
    return encode(letter, worker=WorkerIdentity("1", "i", "g"), schema=SCHEMA, schema_id=None, max_bytes=max_bytes)


def letter(offset: int, value: bytes = b"\xff") -> Letter:
    return Letter(
        reason=Reason.UNDECODABLE,
        detail="bad framing",
        failed_at_ms=1_700_000_000_000,
        attempts=0,
        sources=(Source(Partition("profile-changes", 1), offset, 1_700_000_000_000),),
        user=None,
        attributes=(),
        record_key=b"user",
        record_value=value,
        headers=(("traceparent", b"00-a-b-01"),),
    )


@contextmanager
def dead_letters(broker: Broker, topic: str, properties: Mapping[str, str] | None = None) -> Iterator[DeadLetters]:
    made = DeadLetters(
        {"bootstrap.servers": broker.bootstrap_servers, "reconnect.backoff.max.ms": "500", **(properties or {})},
        topic,
        bare,
        LOG,
    )
    yield made
    made.close(0)


def resident_bytes() -> int:
    """What this process takes now, as the kernel counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def decided(publisher: DeadLetters, count: int, seconds: float = 30) -> list[tuple[Letter, str | None]]:
    results: list[tuple[Letter, str | None]] = []
    deadline = time.monotonic() + seconds
    while len(results) < count:
        assert time.monotonic() < deadline, (results, publisher.problem)
        results += publisher.results()
    return results


def read(broker: Broker, topic: str, count: int) -> list[tuple[Record, dict[str, object]]]:
    with Member(broker, topic, unique_name("reader")) as member:
        until(lambda: len(member.records) >= count, member)
    return [
        (record, cast("dict[str, object]", fastavro.schemaless_reader(io.BytesIO(record.value or b""), SCHEMA, None)))
        for record in member.records
    ]


class TestContract:
    def test_an_acknowledged_letter_is_in_the_topic(self, broker: Broker, topic: str) -> None:
        with dead_letters(broker, topic) as publisher:
            sent = [letter(offset) for offset in range(50)]
            for each in sent:
                publisher.publish(each)
            results = decided(publisher, 50)
        assert {id(each) for each, _ in results} == {id(each) for each in sent}
        assert [error for _, error in results] == [None] * 50
        found = read(broker, topic, 50)
        assert {datum["id"] for _, datum in found} == {letter_id(each) for each in sent}
        record, _ = found[0]
        assert record.key == b"user"
        written = dead_letters_in(broker.bootstrap_servers, topic, framed=False)
        assert written[0]["headers"].keys() >= {"reason", "source.offset", "traceparent"}

    def test_close_waits_for_the_letters_that_were_published(self, broker: Broker, topic: str) -> None:
        with dead_letters(broker, topic) as publisher:
            publisher.publish(letter(1))
            publisher.close(20)
            [(_, error)] = publisher.results()
            assert error is None

    def test_a_full_local_queue_keeps_letters_in_order(self, broker: Broker, topic: str) -> None:
        with dead_letters(broker, topic, {"queue.buffering.max.messages": "2"}) as publisher:
            for offset in range(30):
                publisher.publish(letter(offset))
            results = decided(publisher, 30)
        assert [each.sources[0].offset for each, _ in results] == list(range(30))

    def test_letters_that_no_broker_takes_are_not_held_a_second_time(self) -> None:
        """The outbox holds them, and counts them. librdkafka's queue holds a copy of each."""
        value = bytes(range(256)) * 3_900
        publisher = DeadLetters({"bootstrap.servers": "127.0.0.1:1"}, "letters", bare, LOG)
        before = resident_bytes()
        for offset in range(150):
            publisher.publish(letter(offset, value))
        assert resident_bytes() - before < 64 * 1024 * 1024
        publisher.close(0)

    def test_its_topic_is_created_once(self, broker: Broker) -> None:
        admin = Admin({"bootstrap.servers": broker.bootstrap_servers}, LOG)
        name = unique_name("dead-letter")
        with pytest.raises(TopicsUnavailable, match="does not exist"):
            partition_total(admin, [name])
        first = ensure_dead_letter_topic(admin, name, 4)
        assert (first.partitions, first.created, first.problem) == (4, True, None)
        second = ensure_dead_letter_topic(admin, name, 9)
        assert (second.partitions, second.created, second.problem) == (4, False, None)
        assert partition_total(admin, [name]) == 4
        assert partition_total(admin, [f"^{name[:-1]}.$"]) == 4


@pytest.mark.kafka
class TestRealBroker:
    def test_a_compacted_topic_is_refused_because_it_keeps_one_letter_per_user(self, real_kafka: RunningBroker) -> None:
        name = unique_name("compacted")
        real_kafka.create_topic(name, 1, {"cleanup.policy": "compact"})
        outcome = ensure_dead_letter_topic(Admin({"bootstrap.servers": real_kafka.bootstrap_servers}, LOG), name, 1)
        assert "set its cleanup.policy to delete" in str(outcome.problem)

    def test_a_topic_that_is_made_while_somebody_asks_can_be_created(self, real_kafka: RunningBroker) -> None:
        """`check` saw none; then a worker that starts at the same time makes it, and the brokers say that it exists."""
        name = unique_name("made")
        real_kafka.create_topic(name, 1)
        admin = Admin({"bootstrap.servers": real_kafka.bootstrap_servers}, LOG)
        assert creation_problem(admin, name, 1, 15.0) is None

    def test_a_letter_too_large_for_the_topic_is_cut_and_says_so(self, real_kafka: RunningBroker) -> None:
        """A broker refuses a whole batch for its largest record, but small letters beside it are written whole."""
        topic = unique_name("small")
        real_kafka.create_topic(topic, 1, {"max.message.bytes": "20000"})
        noise = bytes(range(256)) * 400
        with dead_letters(real_kafka, topic, {"compression.type": "none"}) as publisher:
            for each in (letter(1), letter(2, noise), letter(3)):
                publisher.publish(each)
            assert {error for _, error in decided(publisher, 3)} == {None}
        cuts = {datum["id"]: datum["cut"] for _, datum in read(real_kafka, topic, 3)}
        assert sorted(map(str, cuts.values())) == ["['value']", "[]", "[]"]

    def test_a_missing_topic_is_an_error_in_words(self, real_kafka: RunningBroker) -> None:
        topic = unique_name("missing")
        with dead_letters(real_kafka, topic, {"topic.metadata.propagation.max.ms": "500"}) as publisher:
            publisher.publish(letter(1))
            [(_, error)] = decided(publisher, 1)
        assert f"topic {topic}: the topic does not exist" in str(error)

    def test_a_fatal_error_replaces_the_producer(self, real_kafka: RunningBroker) -> None:
        """The library reports a broken sequence to error_cb. No broker breaks one on demand, so the test calls it."""
        topic = unique_name("fatal")
        real_kafka.create_topic(topic, 1)
        with dead_letters(real_kafka, topic, {"linger.ms": "20000", "batch.num.messages": "100"}) as publisher:
            publisher.publish(letter(1))
            publisher._connection.failed(KafkaError(KafkaError._FATAL, "sequence broken", fatal=True))
            [(handed_back, error)] = publisher.results()
            assert "sequence broken" in str(error)
            publisher.publish(handed_back)
            publisher.close(20)
            assert [error for _, error in publisher.results()] == [None]

    def test_letters_are_handed_back_in_an_outage_and_written_after_it(self, own_broker: LocalBroker) -> None:
        own_broker.start()
        own_broker.create_topic("letters", 1)
        with dead_letters(own_broker, "letters", {"message.timeout.ms": "2000"}) as publisher:
            publisher.publish(letter(1))
            assert [error for _, error in decided(publisher, 1)] == [None]
            own_broker.kill()
            publisher.publish(letter(2))
            [(handed_back, error)] = decided(publisher, 1)
            assert "not acknowledged in time" in str(error)
            # librdkafka reports the refused connection first, and that all brokers are down soon after.
            assert re.search("Connection refused|no broker answers", str(publisher.problem))
            own_broker.start()
            publisher.publish(handed_back)
            assert [error for _, error in decided(publisher, 1)] == [None]
            assert publisher.problem is None


@pytest.fixture(scope="module")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory, real_kafka: RunningBroker) -> Iterator[LocalBroker]:
    """A broker whose second listener requires a password and grants nothing."""
    assert real_kafka.real  # taking `real_kafka` skips or fails the test where no real Kafka can run
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_worker="right";'
    broker = LocalBroker(
        tmp_path_factory.mktemp("secured"),
        {
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
        {"SASL": "SASL_PLAINTEXT"},
    )
    broker.start()
    broker.create_topic("forbidden", 1)
    yield broker
    broker.stop()


def login(broker: LocalBroker, password: str) -> dict[str, str]:
    return {
        "bootstrap.servers": broker.address("SASL"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "worker",
        "sasl.password": password,
    }


@pytest.mark.kafka
class TestSecurity:
    def test_every_client_reports_a_wrong_password(
        self, secured_kafka: LocalBroker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = login(secured_kafka, "wr0ng-pw")
        with Member(secured_kafka, "forbidden", "g", wrong) as member:
            until(lambda: "authentication failed" in (member.subscription.problem or ""), member)
        with dead_letters(secured_kafka, "forbidden", wrong) as publisher:
            wait(lambda: bool(publisher.results()) or "authentication failed" in (publisher.problem or ""))
        with pytest.raises(TopicsUnavailable, match="authentication failed"):
            partition_total(Admin(wrong, LOG), ["forbidden"], timeout_seconds=2)
        assert "wr0ng-pw" not in "".join(capsys.readouterr())

    def test_a_plaintext_client_on_a_secured_listener_gets_advice(self, secured_kafka: LocalBroker) -> None:
        plain = {"bootstrap.servers": secured_kafka.address("SASL")}
        with Member(secured_kafka, "forbidden", "g", plain) as member:
            until(lambda: "security.protocol" in (member.subscription.problem or ""), member)

    def test_missing_rights_are_named(self, secured_kafka: LocalBroker) -> None:
        right = login(secured_kafka, "right")
        admin = Admin(right, LOG)
        with pytest.raises(TopicsUnavailable, match="topic forbidden: not authorised"):
            partition_total(admin, ["forbidden"])
        assert "not authorised" in str(ensure_dead_letter_topic(admin, "forbidden", 1).problem)
        assert "not authorised" in str(ensure_dead_letter_topic(admin, "new", 1).problem)
        assert "not authorised" in str(write_problem(admin, "forbidden"))
        with Member(secured_kafka, "forbidden", "g", right) as member:
            until(lambda: "not authorised" in (member.subscription.problem or ""), member)

    @pytest.mark.parametrize("protocol", ["classic", "consumer"])
    def test_a_topic_that_may_be_described_alone_stays_a_problem_until_it_may_be_read(
        self, secured_kafka: LocalBroker, protocol: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its partitions are assigned. librdkafka tells once that it may not fetch them."""
        monkeypatch.setattr("worker.kafka.missing_topics._RECHECK_SECONDS", 0.0)
        topic, group = unique_name("described"), unique_name("group")
        secured_kafka.create_topic(topic, 2)
        grant(secured_kafka, (ResourceType.GROUP, group, AclOperation.READ))
        grant(secured_kafka, (ResourceType.TOPIC, topic, AclOperation.DESCRIBE))
        properties = {**login(secured_kafka, "right"), "group.protocol": protocol}
        with Member(secured_kafka, f"^{topic}", group, properties) as member:
            until(lambda: "not authorised" in (member.subscription.problem or ""), member)
            deadline = time.monotonic() + 2
            until(lambda: time.monotonic() > deadline, member)
            assert "not authorised" in (member.subscription.problem or "")
            assert len(member.held) == 2
            grant(secured_kafka, (ResourceType.TOPIC, topic, AclOperation.READ))
            until(lambda: member.subscription.problem is None, member)

    @pytest.mark.parametrize("protocol", ["classic", "consumer"])
    def test_a_topic_that_is_forbidden_is_named_until_it_is_granted(
        self, secured_kafka: LocalBroker, protocol: str
    ) -> None:
        topic, group = unique_name("granted-late"), unique_name("group")
        secured_kafka.create_topic(topic, 2)
        grant(secured_kafka, (ResourceType.GROUP, group, AclOperation.READ))
        properties = {**login(secured_kafka, "right"), "group.protocol": protocol, **REFRESH}
        with Member(secured_kafka, topic, group, properties) as member:
            until(lambda: f"topic {topic}: not authorised" in (member.subscription.problem or ""), member)
            grant(secured_kafka, (ResourceType.TOPIC, topic, AclOperation.READ))
            until(lambda: len(member.held) == 2 and member.subscription.problem is None, member)

    def test_a_forbidden_topic_hands_letters_back(self, secured_kafka: LocalBroker) -> None:
        """The first one is refused in its delivery report; for the second, `produce` itself raises."""
        with dead_letters(secured_kafka, "forbidden", login(secured_kafka, "right")) as publisher:
            for offset in (1, 2):
                publisher.publish(letter(offset))
                [(_, error)] = decided(publisher, 1)
                assert "not authorised for the topic" in str(error)

    def test_a_writable_topic_has_no_problem(self, secured_kafka: LocalBroker) -> None:
        admin = Admin({"bootstrap.servers": secured_kafka.bootstrap_servers}, LOG)
        assert write_problem(admin, "forbidden") is None  # this listener's user is a super user
        assert "does not exist" in str(write_problem(admin, "nowhere"))


def grant(broker: LocalBroker, what: tuple[ResourceType, str, AclOperation]) -> None:
    """Grants something to the user `worker`."""
    kind, name, operation = what
    allow = AclBinding(kind, name, ResourcePatternType.LITERAL, "User:worker", "*", operation, AclPermissionType.ALLOW)
    [answer] = broker.admin.create_acls([allow]).values()
    answer.result(10)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
