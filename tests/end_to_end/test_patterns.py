"""A pattern that matches nothing yet, in the syntax of whoever matches it: the worker says so, and then delivers."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import until
from tests.support.profiles import changes, produce

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_worker_waits_for_a_topic_says_so_and_delivers_with_its_whole_share(lab: Lab, protocol: str) -> None:
    properties = {"group.protocol": protocol, "topic.metadata.refresh.interval.ms": 1000}
    sandbox = lab.sandbox()
    worker = lab.worker(
        sandbox.base_url,
        {
            "WORKER_KAFKA__TOPICS": json.dumps([f"^{lab.topic}-[[:digit:]]+$"]),
            "WORKER_KAFKA__PROPERTIES": json.dumps(properties),
        },
    )
    until(lambda: "matches no topic" in str(worker.status()["problem"]), 30, "the problem")
    topic = f"{lab.topic}-1"
    lab.broker.create_topic(topic, 3)
    made = list(changes(5, events=60, users=20))
    produce(lab.broker.bootstrap_servers, topic, made)
    until(lambda: worker.status()["totals"]["records"] == len(made), 40, "all is read")
    assert worker.status()["problem"] is None
    assert worker.status()["rate"]["share"] == worker.status()["rate"]["limit"]
    assert worker.stop() == 0
    assert_equivalent(sandbox, made)
    assert "Traceback" not in worker.log.read_text()
