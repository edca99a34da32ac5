"""The Kafka that a bench runs on: what kind it is, and whether it answers."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.brokers import Broker, DockerBroker, LocalBroker, MockBroker, RunningBroker
from tests.support.java import Unavailable

_KINDS: dict[type, str] = {
    LocalBroker: "Apache Kafka as a process",
    DockerBroker: "Apache Kafka in a container",
    RunningBroker: "a Kafka of yours",
    MockBroker: "librdkafka's embedded mock",
}
_REACH_SECONDS = 20


def kind(broker: Broker) -> str:
    """What of it figures depend on, without its address."""
    return _KINDS[type(broker)]


def reach(broker: Broker) -> None:
    """Asks it for its topics.

    Raises:
        Unavailable: it does not answer.
    """
    try:
        AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 2}).list_topics(timeout=_REACH_SECONDS)
    except KafkaException as problem:
        raise Unavailable(f"no Kafka answers at {broker.bootstrap_servers}: {problem.args[0].str()}") from None
