"""Retention on a real Kafka, and records deleted before a member read them: the embedded mock deletes none."""

from __future__ import annotations

from functools import partial

import pytest
from confluent_kafka import TopicPartition

from tests.kafka.member import Member, numbered, produce, until
from tests.support.brokers import RunningBroker, unique_name
from tests.support.processes import until as wait_until
from worker.core.facts import DeletedUnread
from worker.core.model import Partition
from worker.kafka import paused_logs
from worker.kafka.retention import Retention

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


def test_they_are_told_of_a_paused_partition_before_it_is_read_on(
    real_kafka: RunningBroker, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paused_logs, "REFRESH_SECONDS", 0.1)
    topic = unique_name("profile-changes")
    real_kafka.create_topic(topic, 2)
    partition, other = Partition(topic, 0), Partition(topic, 1)
    produce(real_kafka, topic, numbered(40, partitions=2))
    deleted: list[DeletedUnread] = []

    def told() -> list[DeletedUnread]:
        deleted.extend(member.subscription.deleted_unread())
        return deleted

    def lost_are(offsets: int) -> bool:
        return sum(each.offsets for each in told()) == offsets

    with Member(real_kafka, topic, group) as member:
        until(lambda: len(member.records) >= 40, member)
        member.subscription.pause([partition])
        produce(real_kafka, topic, numbered(40, partitions=2))
        for start, lost in ((20, 0), (25, 5), (33, 13)):  # what was read is no loss
            delete_before(real_kafka, partition, start)
            until(partial(lost_are, lost), member)
        delete_before(real_kafka, other, 40)
        member.subscription.resume([partition])
        until(lambda: member.offsets(partition)[-1] == 39, member)
        assert member.offsets(partition)[20:] == list(range(33, 40))
        assert told() == [DeletedUnread(partition, 20, 5), DeletedUnread(partition, 25, 8)]


def test_the_retention_of_topics_is_told_if_they_have_one(real_kafka: RunningBroker) -> None:
    kept = {"retention.ms": "60000"}, {"retention.ms": "-1"}, {"retention.ms": "60000", "cleanup.policy": "compact"}
    topics = [unique_name("profile-changes") for _ in kept]
    for topic, settings in zip(topics, kept, strict=True):
        real_kafka.create_topic(topic, 1, settings)
    retention = Retention(real_kafka.admin)
    retention.ask([*topics, "absent"])
    wait_until(lambda: bool(retention.seconds), 20, "an answer")
    assert retention.seconds == {topics[0]: 60.0}


def delete_before(broker: RunningBroker, partition: Partition, offset: int) -> None:
    for deleted in broker.admin.delete_records([TopicPartition(*partition, offset)]).values():
        deleted.result(30)
