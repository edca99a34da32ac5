"""A worker's lease runs out while its group waits for a dead member. Then it reads all that the group gives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.conftest import SHORT_SESSION, Lab, assert_equivalent
from tests.kafka.member import Member
from tests.support.lossy_broker import LossyBroker
from tests.support.processes import until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

LONG_SESSION = {"session.timeout.ms": "15000"}
"""Of the member that is gone: a rebalance waits longer for it than the worker's lease holds."""


@pytest.fixture
def lab(lossy_broker: LossyBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(lossy_broker, tmp_path)
    yield lab
    lab.end()


def test_a_worker_that_was_cut_off_amid_a_rebalance_reads_its_partitions(lab: Lab, lossy_broker: LossyBroker) -> None:
    broker = lossy_broker
    broker.create_topic(lab.topic, 6)
    sandbox = lab.sandbox("--limit", "0")
    worker = lab.worker(sandbox.base_url, SHORT_SESSION)
    gone = Member(broker, lab.topic, lab.group, {**LONG_SESSION, "bootstrap.servers": broker.lossy})

    def shares(member: Member) -> bool:
        member.poll()
        return len(worker.status()["partitions"]) == len(member.held) == 3

    until(lambda: shares(gone), 60, "each has three partitions")
    broker.loses = lambda _: True
    with Member(broker, lab.topic, lab.group) as joining:
        until(lambda: joining.poll() or worker.events("cut_off_from_group"), 30, "the worker's lease runs out")
        until(lambda: shares(joining), 60, "each has three partitions again")
    with suppress(Exception):
        gone.subscription.close(timeout_seconds=0.1)
    made = list(changes(3, events=200, users=60))
    lab.produce(made)
    lab.until_committed(30)
    assert_equivalent(sandbox, made)
    assert not worker.events("assignment_differs")
    assert worker.stop() == 0
