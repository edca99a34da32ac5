"""A topic that is deleted and made anew while a member holds it, on a real Kafka."""

from __future__ import annotations

from contextlib import suppress

import pytest
import structlog
from confluent_kafka import KafkaException
from structlog.testing import capture_logs

from tests.kafka.member import Member, produce, until
from tests.support.brokers import RunningBroker, unique_name
from worker.core.model import Partition
from worker.kafka.member import SourceFailed
from worker.kafka.topics import Admin, PartitionTotal

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
LOG = structlog.get_logger()


def commit_positions(member: Member, _: list[Partition]) -> None:
    """What a drain does: it knows nothing of the new topic."""
    member.subscription.commit({Partition(topic, 0): 100 for topic in {each.topic for each in member.held}}, wait=True)


def renew(broker: RunningBroker, topic: str, records: int) -> None:
    broker.admin.delete_topics([topic])[topic].result(30)
    made = False
    while not made:
        with suppress(KafkaException):  # the old one is still going
            broker.create_topic(topic, 1)
            made = True
    produce(broker, topic, [(0, b"new")] * records)


def holding(broker: RunningBroker, topic: str, member: Member) -> PartitionTotal:
    """Reads the old topic to its end, and pauses: so nothing is fetched while it is made anew."""
    admin = Admin({"bootstrap.servers": broker.bootstrap_servers}, LOG)
    total = PartitionTotal(admin, [topic], 5.0, LOG, renewed=member.subscription.renewed)
    until(lambda: len(member.records) == 100, member)
    assert total() == 1
    member.subscription.pause(member.held)
    return total


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_it_is_read_from_its_beginning_with_a_warning(real_kafka: RunningBroker, protocol: str) -> None:
    topic, group = unique_name("renewed"), unique_name("group")
    real_kafka.create_topic(topic, 1)
    produce(real_kafka, topic, [(0, b"old")] * 100)
    with (
        capture_logs() as lines,
        Member(real_kafka, topic, group, {"group.protocol": protocol}, commit_positions) as member,
    ):
        total = holding(real_kafka, topic, member)
        renew(real_kafka, topic, 150)
        assert total() == 1
        until(lambda: len(member.records) >= 250, member)
        assert [record.offset for record in member.records[100:]] == list(range(150))
        assert total() == 1
        member.poll()
        assert len([line for line in lines if line["event"] == "topic_made_anew"]) == 1


def test_it_is_read_from_its_end_if_new_topics_are(real_kafka: RunningBroker) -> None:
    topic, group = unique_name("renewed"), unique_name("group")
    real_kafka.create_topic(topic, 1)
    latest = {"auto.offset.reset": "latest"}
    with Member(real_kafka, topic, group, latest, commit_positions) as member:
        until(lambda: member.subscription.passed() == {Partition(topic, 0): 0}, member)
        produce(real_kafka, topic, [(0, b"old")] * 100)
        total = holding(real_kafka, topic, member)
        renew(real_kafka, topic, 150)
        total()
        until(lambda: [kind for kind, _ in member.events] == ["assigned", "revoked", "assigned"], member)
        produce(real_kafka, topic, [(0, b"newest")])
        until(lambda: len(member.records) > 100, member)
        assert member.records[100].offset == 150


def test_it_ends_the_worker_if_no_offset_may_be_chosen(real_kafka: RunningBroker) -> None:
    topic, group = unique_name("renewed"), unique_name("group")
    real_kafka.create_topic(topic, 1)
    with Member(real_kafka, topic, group) as first:
        until(lambda: bool(first.held), first)
        first.subscription.commit({Partition(topic, 0): 0}, wait=True)
    with Member(real_kafka, topic, group, {"auto.offset.reset": "error"}) as member:
        until(lambda: bool(member.held), member)
        member.subscription.renewed(topic)
        with pytest.raises(SourceFailed, match="made anew"):
            member.poll()
