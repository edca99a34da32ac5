"""A range of a log is read exactly, on the embedded mock and on a real Kafka, and no group notices."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from confluent_kafka import Producer

from tests.kafka.conftest import PARTITIONS
from tests.kafka.member import LOG, numbered, produce
from tests.kafka.test_retention import delete_before
from tests.support.brokers import Broker, RunningBroker, unique_name
from worker.core.model import Partition, Record
from worker.kafka.bounds import ends, starts
from worker.kafka.range import Range, Span
from worker.kafka.topics import Admin, TopicsUnavailable

WITHIN_SECONDS = 30.0


def properties(broker: Broker) -> dict[str, str]:
    return {"bootstrap.servers": broker.bootstrap_servers, "group.id": "of-nobody", "log_level": "2"}


def read(reader: Range, records: int | None = None) -> list[Record]:
    """Reads all that is unread, or so many records."""
    found: list[Record] = []
    deadline = time.monotonic() + WITHIN_SECONDS
    while reader.unread if records is None else len(found) < records:
        assert time.monotonic() < deadline, (reader.problem, reader.positions)
        found += reader.poll(0.1)
    return found


def offsets(records: list[Record]) -> Mapping[Partition, list[int]]:
    found: dict[Partition, list[int]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record.offset)
    return found


def test_each_partition_is_read_from_its_start_to_before_its_stop(broker: Broker, topic: str) -> None:
    produce(broker, topic, numbered(80, PARTITIONS))
    parts = [Partition(topic, number) for number in range(PARTITIONS)]
    admin = Admin(properties(broker), LOG)
    assert starts(admin, parts, 10) == dict.fromkeys(parts, 0)
    assert ends(admin, parts, 10) == dict.fromkeys(parts, 20)
    spans = {parts[0]: Span(0, 20), parts[1]: Span(5, 9), parts[2]: Span(7, 7), parts[3]: Span(19, 20)}
    with Range(properties(broker), spans, LOG) as reader:
        assert reader.unread == {parts[0], parts[1], parts[3]}
        found = offsets(read(reader))
        assert found == {parts[0]: [*range(20)], parts[1]: [*range(5, 9)], parts[3]: [19]}
        assert reader.positions[parts[0]] == 20
        assert all(reader.positions[part] >= span.stop for part, span in spans.items() if span.stop is not None)


def test_without_a_stop_it_follows_the_log(broker: Broker, topic: str) -> None:
    part = Partition(topic, 0)
    produce(broker, topic, numbered(40, PARTITIONS))
    with Range(properties(broker), {part: Span(8)}, LOG) as reader:
        assert offsets(read(reader, 2)) == {part: [8, 9]}
        produce(broker, topic, numbered(40, PARTITIONS))
        assert offsets(read(reader, 10)) == {part: [*range(10, 20)]}
        assert reader.unread == {part}
        assert reader.positions == {part: 20}


@pytest.mark.kafka
class TestRealBroker:
    def test_it_reaches_a_stop_behind_records_that_are_none(self, real_kafka: RunningBroker) -> None:
        """Transactions end with a control record, and aborted records are left out."""
        topic = unique_name("profile-changes")
        part = Partition(topic, 0)
        real_kafka.create_topic(topic, 1)
        producer = Producer({"bootstrap.servers": real_kafka.bootstrap_servers, "transactional.id": topic})
        producer.init_transactions(30)
        for end in (producer.commit_transaction, producer.abort_transaction):
            producer.begin_transaction()
            for _ in range(5):
                producer.produce(topic, b"x", partition=0)
            producer.flush(30)
            end(30)
        assert ends(Admin(properties(real_kafka), LOG), [part], 10) == {part: 12}
        with Range(properties(real_kafka), {part: Span(0, 12)}, LOG) as reader:
            assert offsets(read(reader)) == {part: [*range(5)]}
            assert reader.positions == {part: 12}

    def test_what_was_deleted_is_passed_over(self, real_kafka: RunningBroker) -> None:
        topic = unique_name("profile-changes")
        part = Partition(topic, 0)
        real_kafka.create_topic(topic, 1)
        produce(real_kafka, topic, numbered(50, partitions=1))
        delete_before(real_kafka, part, 30)
        assert starts(Admin(properties(real_kafka), LOG), [part], 10) == {part: 30}
        with Range(properties(real_kafka), {part: Span(10, 40)}, LOG) as reader:
            assert offsets(read(reader)) == {part: [*range(30, 40)]}

    def test_a_topic_that_is_missing_is_told_in_words(self, real_kafka: RunningBroker) -> None:
        """By who asks for its end. librdkafka waits for an assigned topic for ever, and says nothing."""
        part = Partition(unique_name("missing"), 0)
        with pytest.raises(TopicsUnavailable, match="does not exist"):
            ends(Admin(properties(real_kafka), LOG), [part], 10)


def test_a_paused_partition_is_read_once_it_is_resumed(broker: Broker, topic: str) -> None:
    produce(broker, topic, numbered(80, PARTITIONS))
    first, second = (Partition(topic, number) for number in (0, 1))
    with Range(properties(broker), {first: Span(0, 20), second: Span(0, 20)}, LOG) as reader:
        reader.pause({first})
        found: list[Record] = []
        deadline = time.monotonic() + WITHIN_SECONDS
        while second in reader.unread:
            assert time.monotonic() < deadline, (reader.problem, reader.positions)
            found += reader.poll(0.1)
        assert offsets(found) == {second: [*range(20)]}
        assert reader.unread == {first}
        reader.pause(())
        assert offsets(read(reader)) == {first: [*range(20)]}
