"""What makes `rewind` safe: the brokers let nobody commit from outside while the group has members."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import count

import pytest
import structlog
from confluent_kafka import Consumer

from tests.support.brokers import RunningBroker, unique_name
from tests.support.lossy_broker import LossyBroker
from tests.support.processes import until
from worker.core.model import Partition
from worker.kafka.committed import Committed, GroupUnavailable
from worker.kafka.notebook import Note, Notebook
from worker.kafka.stopped_group import GroupTaken, StoppedGroup
from worker.kafka.topics import Admin

LOG = structlog.get_logger("test")


@pytest.fixture(params=["classic", "consumer"])
def properties(request: pytest.FixtureRequest, real_kafka: RunningBroker) -> dict[str, str]:
    return {
        "bootstrap.servers": real_kafka.bootstrap_servers,
        "group.id": unique_name("group"),
        "group.protocol": request.param,
        "client.id": "the-client",
    }


@pytest.fixture
def partition(real_kafka: RunningBroker) -> Partition:
    name = unique_name("profile-changes")
    real_kafka.create_topic(name, 1)
    return Partition(name, 0)


@pytest.fixture
def group(properties: dict[str, str]) -> Iterator[StoppedGroup]:
    with StoppedGroup(properties, Admin(properties, LOG), LOG) as group:
        yield group


@pytest.mark.kafka
def test_no_offset_moves_while_somebody_is_a_member(
    properties: dict[str, str], partition: Partition, group: StoppedGroup
) -> None:
    assert group.members() == []
    assert group.committed([partition]) == {partition: Committed(None, "")}
    group.move({partition: (0, "a note")})
    member = Consumer({**properties, "enable.auto.commit": False, "log_level": 2})
    member.subscribe([partition.topic])
    try:
        until(lambda: member.poll(0.1) is None and member.assignment(), 60, "it is a member")
        [found] = group.members()
        assert (found.client_id, found.host, found.instance) == ("the-client", "127.0.0.1", None)
        with pytest.raises(GroupTaken):
            group.move({partition: (7, "")})
    finally:
        member.close()
    assert group.committed([partition]) == {partition: Committed(0, "a note")}


@pytest.mark.kafka
def test_a_coordinator_that_moves_is_asked_again(lossy_broker: LossyBroker) -> None:
    properties = {"bootstrap.servers": lossy_broker.lossy, "group.id": unique_name("group")}
    name = unique_name("profile-changes")
    lossy_broker.create_topic(name, 1)
    partition, asked = Partition(name, 0), count()
    lossy_broker.not_coordinator = lambda: next(asked) in {0, 1, 3}
    with StoppedGroup(properties, Admin(properties, LOG), LOG) as group:
        group.move({partition: (7, "a note")})
        assert group.committed([partition]) == {partition: Committed(7, "a note")}
    notebook = Notebook(properties, properties["group.id"], LOG)
    try:
        assert notebook.read([partition]) == {partition: Note(7, "a note")}
    finally:
        notebook.close()
    assert next(asked) > 4, "three refusals, and two answers"


@pytest.mark.long
@pytest.mark.slow
def test_brokers_that_do_not_answer_are_told() -> None:
    with socket.socket() as taken:  # bound, but nothing listens on it
        taken.bind(("127.0.0.1", 0))
        _assert_told({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}", "group.id": "group"})


def _assert_told(properties: dict[str, str]) -> None:
    with StoppedGroup(properties, Admin(properties, LOG), LOG, timeout_seconds=0.5) as group:
        with pytest.raises(GroupUnavailable, match="group group: "):
            group.members()
        with pytest.raises(GroupUnavailable, match="group group: "):
            group.committed([Partition("profile-changes", 0)])
        with pytest.raises(GroupUnavailable, match="whether the offsets moved is not known"):
            group.move({Partition("profile-changes", 0): (1, "")})
