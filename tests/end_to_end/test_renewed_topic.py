"""A topic that is deleted and made anew under a worker, with more records than the old one had."""

from __future__ import annotations

from contextlib import suppress

import pytest
from confluent_kafka import KafkaException

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import until
from tests.support.profiles import changes, fold

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_the_new_topic_is_read_from_its_beginning(lab: Lab) -> None:
    """A second worker joins, so the partitions are counted at once and not within a minute."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    old, new = list(changes(1, events=50, users=20)), list(changes(2, events=120, users=100))
    lab.produce(old)
    worker = lab.worker(sandbox.base_url)
    lab.until_committed(60)
    _renew(lab)
    lab.produce(new)
    lab.worker(sandbox.base_url).until_ready()
    until(lambda: worker.events("topic_made_anew"), 70, "the warning")
    lab.until_committed(60)
    assert final_state(sandbox) == fold([*old, *new])
    assert lab.dead_letters() == []


def _renew(lab: Lab) -> None:
    lab.broker.admin.delete_topics([lab.topic])[lab.topic].result(30)

    def made() -> bool:
        with suppress(KafkaException):  # the old one is still going
            lab.broker.create_topic(lab.topic, 1)
            return True
        return False

    until(made, 30, "the topic is made anew")
