"""Records deleted before a member read them, on a real Kafka: the embedded mock deletes none."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from tests.kafka.member import Member, numbered, produce, until
from tests.support.brokers import RunningBroker, unique_name
from worker.core.facts import DeletedUnread
from worker.core.model import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_they_are_told_at_the_start_and_while_the_partition_is_held(real_kafka: RunningBroker, group: str) -> None:
    topic = unique_name("profile-changes")
    real_kafka.create_topic(topic, 1)
    partition = Partition(topic, 0)
    produce(real_kafka, topic, numbered(100, partitions=1))
    with Member(real_kafka, topic, group) as member:
        until(lambda: bool(member.records), member)
        member.subscription.commit({partition: 10}, wait=True)
    delete_before(real_kafka, partition, 40)
    with Member(real_kafka, topic, group) as member:
        until(lambda: bool(member.held), member)
        assert member.subscription.notes([partition]) is not None
        until(lambda: len(member.records) >= 60, member)
        assert member.offsets(partition)[0] == 40
        assert member.subscription.deleted_unread() == [DeletedUnread(partition, 10, 30)]
        member.subscription.pause([partition])
        produce(real_kafka, topic, numbered(20, partitions=1))
        delete_before(real_kafka, partition, 115)
        member.subscription.resume([partition])
        until(lambda: member.offsets(partition)[-1] == 119, member)
        assert member.subscription.deleted_unread() == [DeletedUnread(partition, 100, 15)]


def delete_before(broker: RunningBroker, partition: Partition, offset: int) -> None:
    for deleted in broker.admin.delete_records([TopicPartition(*partition, offset)]).values():
        deleted.result(30)
