"""A coordinator that refuses to say where to begin: the member joins again, and reads."""

from __future__ import annotations

from itertools import count

import pytest
import structlog
from structlog.testing import capture_logs

from tests.kafka.member import Member, numbered, produce, until
from tests.support.brokers import unique_name
from tests.support.lossy_broker import LossyBroker
from worker.core.model import Partition
from worker.kafka import unstarted
from worker.kafka.unstarted import UNSTARTED_SECONDS, Unstarted

P0, P1 = Partition("changes", 0), Partition("changes", 1)
RECORDS = 20


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_refused_question_for_the_committed_offsets_is_asked_again(
    lossy_broker: LossyBroker, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Librdkafka never asks again by itself."""
    topic, group = unique_name("refused"), unique_name("group")
    lossy_broker.create_topic(topic, 2)
    produce(lossy_broker, topic, numbered(RECORDS, 2))
    monkeypatch.setattr(unstarted, "UNSTARTED_SECONDS", 2.0)
    asked = count()
    lossy_broker.not_coordinator = lambda: next(asked) == 0
    properties = {
        "group.protocol": protocol,
        "bootstrap.servers": lossy_broker.lossy,
        "statistics.interval.ms": "500",
    }
    with capture_logs() as lines, Member(lossy_broker, topic, group, properties) as member:
        until(lambda: len(member.records) == RECORDS, member, seconds=60)
    assert [word for word, _ in member.events[:3]] == ["assigned", "revoked", "assigned"]
    (line,) = [line for line in lines if line["event"] == "partitions_not_started"]
    assert line["partitions"] == [f"{topic}[0]", f"{topic}[1]"]


class Watch:
    """An `Unstarted` whose statistics come by hand, at instants of a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.assigned = {P0}
        self._unstarted = Unstarted(self.assigned, structlog.get_logger())
        monkeypatch.setattr("worker.kafka.unstarted.time.monotonic", lambda: self.now)

    def hears(self, state: str, *, group: str = "up", join: str = "steady") -> None:
        partitions = {"0": {"fetch_state": state}, "1": {"fetch_state": "none"}, "-1": {"fetch_state": "none"}}
        self._unstarted.take(
            {
                "cgrp": {"state": group, "join_state": join},
                "topics": {"changes": {"partitions": partitions}},
            }
        )

    def overdue_after(self, seconds: float) -> bool:
        self.now += seconds
        return self._unstarted.overdue()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_what_is_not_begun_for_fifteen_seconds_is_overdue_once(watch: Watch) -> None:
    watch.hears("none")
    assert not watch.overdue_after(UNSTARTED_SECONDS - 1.0)
    watch.hears("none")
    assert watch.overdue_after(1.0)
    assert not watch.overdue_after(1.0), "until the next statistics"


def test_each_new_assignment_is_waited_for_twice_as_long_until_all_are_read(watch: Watch) -> None:
    for patience in (15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0):
        watch.hears("none")
        assert not watch.overdue_after(patience - 1.0)
        assert watch.overdue_after(1.0)
    watch.hears("active")
    watch.hears("none")
    assert watch.overdue_after(UNSTARTED_SECONDS)


@pytest.mark.parametrize(("group", "join"), [("up", "wait-sync"), ("query-coord", "steady"), ("wait-broker", "steady")])
def test_without_the_coordinator_or_amid_a_rebalance_nothing_is_overdue(watch: Watch, group: str, join: str) -> None:
    watch.hears("none", group=group, join=join)
    assert not watch.overdue_after(1_000.0)


@pytest.mark.parametrize("state", ["active", "offset-query", "offset-wait", "validate-epoch-wait", "stopping"])
def test_what_librdkafka_works_on_is_not_overdue(watch: Watch, state: str) -> None:
    """P1 is not assigned: that it is not read says nothing."""
    watch.hears("none")
    watch.hears(state)
    assert not watch.overdue_after(1_000.0)


def test_partitions_without_statistics_yet_are_not_overdue(watch: Watch) -> None:
    watch.assigned.add(Partition("other", 0))
    watch.hears("active")
    assert not watch.overdue_after(1_000.0)
