"""From what was typed to offsets, on the embedded mock and on a real Kafka."""

from __future__ import annotations

import pytest

from tests.kafka.member import LOG
from tests.kafka.test_retention import delete_before
from tests.support.brokers import RunningBroker, unique_name
from tests.support.producers import ordered_producer
from worker.core.model import Partition
from worker.jobs.spans import Reach, chosen, reach
from worker.jobs.when import Edge, Unreadable
from worker.kafka.topics import Admin

pytestmark = pytest.mark.kafka
BEGAN_MS = 1_772_366_400_000
RECORDS = 10


@pytest.fixture
def topic(real_kafka: RunningBroker) -> str:
    """Two partitions with a record a second in each; the first three of partition 1 are deleted."""
    name = unique_name("spans")
    real_kafka.create_topic(name, 2)
    producer = ordered_producer(real_kafka.bootstrap_servers)
    for number in range(RECORDS):
        for partition in (0, 1):
            producer.produce(name, b"value", partition=partition, timestamp=BEGAN_MS + number * 1_000)
    assert producer.flush(30) == 0
    delete_before(real_kafka, Partition(name, 1), 3)
    return name


@pytest.fixture
def admin(real_kafka: RunningBroker) -> Admin:
    return Admin({"bootstrap.servers": real_kafka.bootstrap_servers, "group.id": "of-nobody"}, LOG)


def test_a_range_begins_and_ends_at_a_time_an_edge_or_an_offset(admin: Admin, topic: str) -> None:
    p0, p1 = parts = chosen(admin, [topic], [], [])
    whole = {p0: Reach(0, 10, 0), p1: Reach(3, 10, 3)}
    assert reach(admin, parts, Edge.EARLIEST, None) == whole
    assert reach(admin, parts, Edge.LATEST, None) == {p0: Reach(10, 10, 0), p1: Reach(10, 10, 3)}
    early = reach(admin, parts, BEGAN_MS - 1, BEGAN_MS + 4_500)
    assert early == {p0: Reach(0, 5, 0), p1: Reach(3, 5, 3, shortened=True)}
    late = reach(admin, parts, BEGAN_MS + 4_000, BEGAN_MS + 60_000)
    assert late == {p0: Reach(4, 10, 0), p1: Reach(4, 10, 3)}
    by_offset = reach(admin, parts, {p0: 2}, {p0: 4})
    assert by_offset == {p0: Reach(2, 4, 0)}, "the other partition is out of range"
    assert reach(admin, parts, {p1: 1}, None) == {p1: Reach(3, 10, 3, shortened=True)}
    assert reach(admin, parts, {p1: 3}, None) == {p1: Reach(3, 10, 3)}
    assert reach(admin, parts, {p0: 7}, {p0: 4}) == {p0: Reach(7, 7, 0)}, "empty, not backwards"


def test_partitions_are_chosen_by_topic_and_number(admin: Admin, topic: str) -> None:
    assert chosen(admin, [topic], [topic], [1]) == [Partition(topic, 1)]
    with pytest.raises(Unreadable, match="no partition 2: the highest is 1"):
        chosen(admin, [topic], [], [2])
    with pytest.raises(Unreadable, match="other is not among the topics of WORKER_KAFKA__TOPICS"):
        chosen(admin, [topic], ["other"], [])


def test_an_offset_behind_the_end_is_refused(admin: Admin, topic: str) -> None:
    parts = chosen(admin, [topic], [], [])
    with pytest.raises(Unreadable, match=f"{topic}/0:11 lies behind the log's end, which is 10"):
        reach(admin, parts, {parts[0]: 11}, None)
    with pytest.raises(Unreadable, match="is no partition that this command reads"):
        reach(admin, parts[1:], {parts[0]: 1}, None)
