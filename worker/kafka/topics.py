"""What the worker asks and does about topics, by an admin client of its own.

Never by the consumer: asking it for metadata inside a rebalance callback aborts the process (librdkafka).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ClusterMetadata, ConfigResource, NewTopic
from structlog.typing import FilteringBoundLogger

from worker.kafka.connection import Connection, Properties, admin_properties, connecting, in_words

_BROKER_DEFAULT_REPLICATION: Final = -1
_VISIBLE_WITHIN_SECONDS: Final = 10.0
_TRANSIENT: Final = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - the library's public names of its local errors start so
        KafkaError._TIMED_OUT,  # noqa: SLF001 - as above
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
    }
)


class TopicsUnavailable(Exception):
    """The brokers could not be asked, or a topic is missing or forbidden; the message says which and what to do."""


class Admin:
    """An admin client that can say what is wrong with its connection. Make one and keep it."""

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        """Not connected yet.

        Raises:
            PropertiesRefused: see `connecting`; so in every client of the worker.
        """
        self._properties = properties
        self._connection = Connection("admin", log)
        with connecting():
            self.client = AdminClient(
                {**admin_properties(properties), **self._connection.callbacks()}  # type: ignore[dict-item]  # the stub forgets callbacks
            )

    def metadata(self, topic: str | None, timeout_seconds: float) -> ClusterMetadata:
        """Ask for one topic, or for all.

        Raises:
            TopicsUnavailable: no broker answered in time; says why, if the client knows.
        """
        try:
            return self.client.list_topics(topic, timeout=timeout_seconds)
        except KafkaException as failure:
            raise TopicsUnavailable(self.explain(failure)) from failure

    def touch(self, topic: str, timeout_seconds: float) -> None:
        """Ask for a topic in the way that lets brokers create it, where they do that.

        Raises:
            TopicsUnavailable: no broker answered in time.
        """
        creating = AdminClient({**admin_properties(self._properties), "allow.auto.create.topics": "true"})
        try:
            creating.list_topics(topic, timeout=timeout_seconds)
        except KafkaException as failure:
            raise TopicsUnavailable(in_words(failure.args[0])) from failure

    def explain(self, failure: KafkaException) -> str:
        """Put a failure in words; a time-out alone says little, the client's own errors say why."""
        self.client.poll(0)
        return self._connection.problem or in_words(failure.args[0])


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What became of a wish for a topic. `problem` is None when it exists now."""

    partitions: int = 0
    created: bool = False
    problem: str | None = None


def partition_counts(admin: Admin, topics: Iterable[str], timeout_seconds: float = 10.0) -> Mapping[str, int]:
    """Count the partitions of every subscribed topic; a name that starts with `^` is a pattern.

    Raises:
        TopicsUnavailable: no broker answered, a named topic is missing or forbidden. A pattern may match nothing.
    """
    counts: dict[str, int] = {}
    for topic in topics:
        if topic.startswith("^"):
            pattern = re.compile(topic)
            found = admin.metadata(None, timeout_seconds).topics
            counts.update({name: len(of.partitions) for name, of in found.items() if pattern.match(name)})
            continue
        described = admin.metadata(topic, timeout_seconds).topics[topic]
        if described.error is not None:
            raise TopicsUnavailable(f"topic {topic}: {in_words(described.error)}")
        counts[topic] = len(described.partitions)
    return counts


def partition_total(admin: Admin, topics: Iterable[str], timeout_seconds: float = 10.0) -> int:
    """Count all partitions of all subscribed topics; errors as `partition_counts`."""
    return sum(partition_counts(admin, topics, timeout_seconds).values())


def ensure_dead_letter_topic(admin: Admin, topic: str, partitions: int, timeout_seconds: float = 15.0) -> TopicOutcome:
    """See that the topic exists: create it with `partitions` and the brokers' default replication if it does not.

    The outcome's `problem` tells what a broker refuses, with what to do.

    Raises:
        TopicsUnavailable: no broker answered in time; asking again may help.
    """
    cluster = admin.metadata(topic, timeout_seconds)
    existing = cluster.topics[topic]
    # librdkafka's embedded mock names a controller that does not exist, and answers no question about configurations.
    mock = cluster.controller_id not in cluster.brokers
    if existing.error is None:
        outcome = TopicOutcome(partitions=len(existing.partitions))
    elif existing.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        return TopicOutcome(problem=f"topic {topic}: {in_words(existing.error)}")
    else:
        if mock:
            admin.touch(topic, timeout_seconds)  # it makes a topic when it is asked for
        elif (why := _create(admin, topic, partitions, timeout_seconds)) is not None:
            return TopicOutcome(problem=why)
        outcome = _await_visible(admin, topic)
    if outcome.problem is None and not mock:
        return replace(outcome, problem=compaction_problem(admin, topic))
    return outcome


def _create(admin: Admin, topic: str, partitions: int, timeout_seconds: float) -> str | None:
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=_BROKER_DEFAULT_REPLICATION)
    [answer] = admin.client.create_topics([wanted], request_timeout=timeout_seconds).values()
    try:
        answer.result()  # bounded by request_timeout
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another replica of the worker was quicker
            return None
        if failure.args[0].retriable() or failure.args[0].code() in _TRANSIENT:
            raise TopicsUnavailable(admin.explain(failure)) from failure
        return (
            f"topic {topic} cannot be created: {admin.explain(failure)}. "
            f"Create it with {partitions} partitions, or grant the worker CREATE"
        )
    return None


def _await_visible(admin: Admin, topic: str) -> TopicOutcome:
    """Wait until the brokers' metadata shows a new topic: producing before that only meets errors."""
    deadline = time.monotonic() + _VISIBLE_WITHIN_SECONDS
    while True:
        described = admin.metadata(topic, _VISIBLE_WITHIN_SECONDS).topics[topic]
        if described.error is None:
            return TopicOutcome(partitions=len(described.partitions), created=True)
        if time.monotonic() > deadline:
            return TopicOutcome(created=True, problem=f"topic {topic}: {in_words(described.error)}")
        time.sleep(0.05)


def compaction_problem(admin: Admin, topic: str, timeout_seconds: float = 10.0) -> str | None:
    """Say so where the topic is compacted, which keeps one letter of each key; None too where that cannot be told."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        found = admin.client.describe_configs([resource], request_timeout=timeout_seconds)[resource].result()
    except KafkaException:
        return None  # it needs a right of its own, and librdkafka's embedded mock does not know the question
    policy = found.get("cleanup.policy")
    if policy is None or "compact" not in (policy.value or ""):
        return None
    return f"topic {topic}: it is compacted, and would keep one letter of each user: set its cleanup.policy to delete"


def write_problem(admin: Admin, topic: str, timeout_seconds: float = 10.0) -> str | None:
    """Say why the topic cannot be written, without writing to it; None when it can."""
    asked = admin.client.describe_topics(
        TopicCollection([topic]), include_authorized_operations=True, request_timeout=timeout_seconds
    )
    try:
        described = asked[topic].result()  # bounded by request_timeout
    except KafkaException as failure:
        return f"topic {topic}: {admin.explain(failure)}"
    allowed = described.authorized_operations
    if allowed is not None and not {AclOperation.WRITE, AclOperation.ALL} & set(allowed):
        return f"topic {topic}: not authorised to write: grant the worker WRITE on it"
    return None
