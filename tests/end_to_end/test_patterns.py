"""Patterns, read as whoever matches them reads them: a worker with no topic yet says so, and then delivers."""

from __future__ import annotations

import json
import time

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import until
from tests.support.profiles import changes, produce

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# The worker asks about missing topics after 10 s, and librdkafka's next statistics come within 5 s.
RECHECKED_SECONDS = 16.0


def environment(pattern: str, protocol: str) -> dict[str, str]:
    properties = {"group.protocol": protocol, "topic.metadata.refresh.interval.ms": 1000}
    return {"WORKER_KAFKA__TOPICS": json.dumps([pattern]), "WORKER_KAFKA__PROPERTIES": json.dumps(properties)}


@pytest.mark.parametrize(
    ("protocol", "rest", "topic_rest", "waits"),
    [
        ("classic", "-[[:digit:]]+$", "-1", 0.0),
        ("consumer", "-[[:digit:]]+$", "-1", 0.0),
        # A backslash, which librdkafka would not escape in its statistics.
        ("classic", r"\.eu\..*", ".eu.a", RECHECKED_SECONDS),
    ],
)
def test_a_worker_waits_for_a_topic_says_so_and_delivers_with_its_whole_share(
    lab: Lab, protocol: str, rest: str, topic_rest: str, waits: float
) -> None:
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, environment(f"^{lab.topic}{rest}", protocol))
    until(lambda: "matches no topic" in str(worker.status()["problem"]), 30, "the problem")
    ends = time.monotonic() + waits
    until(lambda: time.monotonic() > ends, waits + 5, "there is no topic for a while", pause=0.5)
    topic = f"{lab.topic}{topic_rest}"
    lab.broker.create_topic(topic, 3)
    made = list(changes(5, events=60, users=20))
    produce(lab.broker.bootstrap_servers, topic, made)
    until(lambda: worker.status()["totals"]["records"] == len(made), 40, "all is read")
    assert worker.status()["problem"] is None
    assert worker.status()["rate"]["share"] == worker.status()["rate"]["limit"]
    assert worker.stop() == 0
    assert_equivalent(sandbox, made)
    assert "Traceback" not in worker.log.read_text()


def test_a_pattern_that_the_brokers_match_with_whole_names_alone_is_told_by_readyz_and_check(lab: Lab) -> None:
    """The beginning of a name matches in the classic protocol only."""
    lab.dead_letter_topic = f"letters-{lab.topic}"
    lab.broker.create_topic(f"{lab.topic}-eu", 3)
    extra = environment(f"^{lab.topic}", "consumer")
    worker = lab.worker("http://127.0.0.1:1/v1", extra)
    until(lambda: "end it with .*" in str(worker.ready().json()["detail"]), 30, "the problem on /readyz")
    [waiting] = worker.events("waiting")
    assert (waiting["reason"], "matches no topic" in waiting["detail"]) == ("kafka", True)
    topics = lab.check("http://127.0.0.1:1/v1", extra)["topics"]
    assert (topics["level"], "matches no topic" in topics["what"]) == ("warn", True)
    assert worker.stop() == 0
