from __future__ import annotations

import time

import pytest
import structlog

from tests.support.brokers import LocalBroker
from worker.kafka.configs import Untold, broker_configs, topic_configs, whole
from worker.kafka.topics import Admin

TIMEOUT_SECONDS = 2.0

pytestmark = pytest.mark.kafka


def test_a_broker_that_stops_answering_is_told_in_time(own_broker: LocalBroker) -> None:
    own_broker.start()
    own_broker.create_topic("kept", 1, {"retention.ms": "1234"})
    properties = {"bootstrap.servers": own_broker.bootstrap_servers}
    admin = Admin(properties, structlog.get_logger())
    told = topic_configs(admin, ["kept", "missing"], TIMEOUT_SECONDS)
    assert not isinstance(told["kept"], Untold)
    assert whole(told["kept"], "retention.ms") == 1234
    assert whole(told["kept"], "of.another.release") is None
    assert isinstance(told["missing"], Untold)
    assert topic_configs(admin, [], TIMEOUT_SECONDS) == {}
    own_broker.pause()
    began = time.monotonic()
    assert isinstance(broker_configs(admin, 1, TIMEOUT_SECONDS), Untold)
    assert isinstance(topic_configs(admin, ["kept"], TIMEOUT_SECONDS)["kept"], Untold)
    assert time.monotonic() - began < 5 * TIMEOUT_SECONDS
    own_broker.resume()
