"""The start, on librdkafka's mock: the worker waits for its topics, says so, and can be stopped while it waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count

import pytest
import structlog
from confluent_kafka.admin import ClusterMetadata
from structlog.testing import capture_logs

from tests.support.brokers import MockBroker, unique_name
from worker.backoff import StopRequested
from worker.kafka.topics import Admin, TopicsUnavailable, partition_total
from worker.live.startup import Topics, prepare_topics
from worker.ops.board import Board
from worker.ops.status import Problem, Status

LOG = structlog.get_logger()


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    broker = MockBroker()
    yield broker
    broker.stop()


@pytest.fixture
def topics(broker: MockBroker) -> Topics:
    """The names of a topic and a dead-letter topic that do not exist."""
    admin = Admin({"bootstrap.servers": broker.bootstrap_servers}, LOG)
    return Topics(admin, [unique_name("changes")], unique_name("letters"))


@pytest.fixture
def board() -> Board:
    return Board(Status.starting(version="1", instance="i", group_id="g", rate_limit=1.0))


def test_it_waits_for_a_missing_topic_says_so_once_and_then_creates_the_dead_letter_topic(
    broker: MockBroker, topics: Topics, board: Board
) -> None:
    waits = count(1)

    def sleep(seconds: float) -> None:
        assert seconds > 0
        assert "does not exist" in str(board.status.problem)
        assert board.status.problems == (Problem.KAFKA,)
        if next(waits) == 3:
            broker.create_topic(topics.subscribed[0], 4)

    with capture_logs() as lines:
        prepare_topics(topics, board, LOG, stop_requested=lambda: False, sleep=sleep)
    [waiting, created] = lines
    assert (waiting["event"], waiting["reason"]) == ("waiting", "kafka")
    assert waiting["since"].endswith("Z")
    assert datetime.fromisoformat(waiting["since"]).tzinfo is not None
    assert topics.subscribed[0] in waiting["detail"]
    assert created == {"event": "dead_letter_topic_created", "partitions": 4, "log_level": "info"}
    assert next(waits) == 4
    assert partition_total(topics.admin, [topics.dead_letters]) == 4


def test_the_same_trouble_at_several_brokers_is_one_line_a_minute(board: Board) -> None:
    class Refused(Admin):
        """Its brokers refuse in turn."""

        def metadata(self, topic: str | None, timeout_seconds: float) -> ClusterMetadata:
            del topic, timeout_seconds
            raise TopicsUnavailable(f"authentication failed: check sasl.password (b-{next(tries) % 3}:9092: refused)")

    tries = count()
    topics = Topics(Refused({"bootstrap.servers": "127.0.0.1:1"}, LOG), ["changes"], "letters")
    slept: list[float] = []
    with capture_logs() as lines, pytest.raises(StopRequested):
        prepare_topics(topics, board, LOG, stop_requested=lambda: len(slept) == 9, sleep=slept.append)
    (line,) = lines
    assert line["detail"].startswith("authentication failed")


def test_a_stop_ends_the_wait(topics: Topics, board: Board) -> None:
    slept: list[float] = []
    with pytest.raises(StopRequested):
        prepare_topics(topics, board, LOG, stop_requested=lambda: len(slept) == 2, sleep=slept.append)
