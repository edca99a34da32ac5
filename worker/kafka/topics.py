"""Asks about topics and creates those that the worker writes, by an admin client.

Never by the consumer: asked for metadata inside a rebalance callback, its librdkafka aborts the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic
from structlog.typing import FilteringBoundLogger

from worker.backoff import patiently
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.patterns import is_pattern, matcher, matchers
from worker.kafka.properties import Properties, admin_properties, uses_kip_848
from worker.kafka.retention import Retention
from worker.logs import LogLimiter

BROKER_DEFAULT_REPLICATION: Final = -1

_VISIBLE_WITHIN_SECONDS: Final = 10.0
_VISIBLE_RETRY_SECONDS: Final = 0.05
_NO_ID: Final = str(Uuid(0, 0))
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
    """The brokers do not answer, or a topic is missing or forbidden. The message says which, and what to do."""


class TopicRefused(TopicsUnavailable):
    """The brokers answer, but refuse this topic: it is missing or forbidden."""


class Admin:
    """An admin client that can say what is wrong with its connection. Make one, and keep it for the process's life."""

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        """Does not connect yet.

        Raises:
            PropertiesRefused: See `connecting`; every client of the worker may raise it.
        """
        self.properties = properties
        self._connection = Connection("admin", log)
        with connecting():
            self.client = AdminClient(
                {**admin_properties(properties), **self._connection.callbacks()}  # type: ignore[dict-item]  # the stub forgets callbacks
            )

    def metadata(self, topic: str | None, timeout_seconds: float) -> ClusterMetadata:
        """Asks for the metadata of one topic, or of all.

        Raises:
            TopicsUnavailable: No broker answered in time. Says why, if the client knows.
        """
        try:
            metadata = self.client.list_topics(topic, timeout=timeout_seconds)
        except KafkaException as failure:
            raise TopicsUnavailable(self.explain(failure)) from failure
        self._connection.answered()
        return metadata

    def touch(self, topic: str, timeout_seconds: float) -> None:
        """Asks for a topic in the way that makes brokers with auto-creation create it.

        Raises:
            TopicsUnavailable: No broker answered in time.
        """
        creating = AdminClient({**admin_properties(self.properties), "allow.auto.create.topics": "true"})
        try:
            creating.list_topics(topic, timeout=timeout_seconds)
        except KafkaException as failure:
            raise TopicsUnavailable(in_words(failure.args[0])) from failure

    def explain(self, failure: KafkaException) -> str:
        """Puts a failure in words. A time-out says little; the client's earlier errors say why."""
        self.client.poll(0)
        return self._connection.problem or in_words(failure.args[0])


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """The topic exists if `problem` is None. `created` says that the worker has just created it."""

    partitions: int = 0
    created: bool = False
    problem: str | None = None


def partition_counts(admin: Admin, topics: Iterable[str], timeout_seconds: float = 10.0) -> Mapping[str, int]:
    """The number of partitions of every subscribed topic. A name that starts with `^` is a pattern.

    Raises:
        TopicRefused: A named topic is missing or forbidden. A pattern may match nothing.
        TopicsUnavailable: No broker answered.
        PatternRefused: A pattern is none; the settings' rules refuse it before.
    """
    counts: dict[str, int] = {}
    for topic in topics:
        if is_pattern(topic):
            matches = matcher(topic, kip_848=uses_kip_848(admin.properties))
            found = admin.metadata(None, timeout_seconds).topics
            counts.update({name: len(of.partitions) for name, of in found.items() if matches(name)})
            continue
        described = admin.metadata(topic, timeout_seconds).topics[topic]
        if described.error is not None:
            raise TopicRefused(f"topic {topic}: {in_words(described.error)}")
        counts[topic] = len(described.partitions)
    return counts


def exists(admin: Admin, topic: str, timeout_seconds: float) -> bool:
    """Whether the topic exists.

    Raises:
        TopicRefused: The brokers do not say, because the topic is forbidden.
        TopicsUnavailable: No broker answered.
    """
    error = admin.metadata(topic, timeout_seconds).topics[topic].error
    if error is not None and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise TopicRefused(f"topic {topic}: {in_words(error)}")
    return error is None


def replicas(admin: Admin, topic: str, timeout_seconds: float) -> int | None:
    """The number of copies of the topic's least copied partition. None if the brokers name no partition.

    Raises:
        TopicsUnavailable: No broker answered.
    """
    partitions = admin.metadata(topic, timeout_seconds).topics[topic].partitions.values()
    return min((len(partition.replicas) for partition in partitions), default=None)


def partition_total(admin: Admin, topics: Iterable[str], timeout_seconds: float = 10.0) -> int:
    """The number of partitions of all subscribed topics together. Errors as `partition_counts`."""
    return sum(partition_counts(admin, topics, timeout_seconds).values())


def ensure_dead_letter_topic(admin: Admin, topic: str, partitions: int, timeout_seconds: float = 15.0) -> TopicOutcome:
    """Creates the topic unless it exists, as `ensure_topic`."""
    return ensure_topic(admin, topic, partitions, timeout_seconds, compacted="it would keep one letter per user")


def ensure_receipt_topic(admin: Admin, topic: str, partitions: int, timeout_seconds: float = 15.0) -> TopicOutcome:
    """Creates the topic unless it exists, as `ensure_topic`."""
    return ensure_topic(admin, topic, partitions, timeout_seconds, compacted="it takes no record without a key")


def ensure_topic(admin: Admin, topic: str, partitions: int, timeout_seconds: float, *, compacted: str) -> TopicOutcome:
    """Creates the topic, with `partitions` and the brokers' default replication, unless it exists.

    If a broker refuses, the outcome's `problem` says so, and what to do. `compacted` says why it must not be compacted.

    Raises:
        TopicsUnavailable: No broker answered in time. Asking again may help.
    """
    cluster = admin.metadata(topic, timeout_seconds)
    existing = cluster.topics[topic]
    # librdkafka's embedded mock names a controller that does not exist. It does not answer describe_configs either.
    mock = cluster.controller_id not in cluster.brokers
    if existing.error is None:
        outcome = TopicOutcome(partitions=len(existing.partitions))
    elif existing.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        return TopicOutcome(problem=f"topic {topic}: {in_words(existing.error)}")
    else:
        if mock:
            admin.touch(topic, timeout_seconds)  # the mock has no create_topics, but auto-creation
        elif (why := _create(admin, topic, partitions, timeout_seconds)) is not None:
            return TopicOutcome(problem=why)
        outcome = _await_visible(admin, topic)
    if outcome.problem is None and not mock:
        return replace(outcome, problem=compaction_problem(admin, topic, compacted))
    return outcome


def _create(admin: Admin, topic: str, partitions: int, timeout_seconds: float) -> str | None:
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=BROKER_DEFAULT_REPLICATION)
    [answer] = admin.client.create_topics([wanted], request_timeout=timeout_seconds).values()
    try:
        answer.result()  # bounded by request_timeout
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another replica was quicker
            return None
        if failure.args[0].retriable() or failure.args[0].code() in _TRANSIENT:
            raise TopicsUnavailable(admin.explain(failure)) from failure
        return (
            f"topic {topic} cannot be created: {admin.explain(failure)}. "
            f"Create it with {partitions} partitions, or grant the worker CREATE"
        )
    return None


def _await_visible(admin: Admin, topic: str) -> TopicOutcome:
    """Waits until the brokers' metadata shows the new topic. Before that, producing fails."""
    try:
        counts = patiently(
            lambda: partition_counts(admin, [topic], _VISIBLE_WITHIN_SECONDS),
            retry_on=TopicRefused,
            wait=lambda _: _VISIBLE_RETRY_SECONDS,
            timeout_seconds=_VISIBLE_WITHIN_SECONDS,
        )
    except TopicRefused as refused:
        return TopicOutcome(created=True, problem=str(refused))
    return TopicOutcome(partitions=counts[topic], created=True)


def compaction_problem(admin: Admin, topic: str, why: str, timeout_seconds: float = 10.0) -> str | None:
    """A problem if the topic is compacted, with the reason `why`. None also if the brokers do not say."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        found = admin.client.describe_configs([resource], request_timeout=timeout_seconds)[resource].result()
    except KafkaException:
        return None  # describe_configs needs a permission of its own
    policy = found.get("cleanup.policy")
    if policy is None or "compact" not in (policy.value or ""):
        return None
    return f"topic {topic}: it is compacted, so {why}: set its cleanup.policy to delete"


class PartitionTotal:
    """Counts the partitions of all subscribed topics, again at each call, and notices what is wrong with the topics.

    Attributes:
        latest: the latest count; None before the first.
        problem: why the partitions are not counted, or which pattern matches no topic. None if all is well.
    """

    def __init__(
        self,
        admin: Admin,
        topics: Sequence[str],
        timeout_seconds: float,
        log: FilteringBoundLogger,
        *,
        renewed: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`renewed` is called with the name of a topic that was deleted and made anew since the last count."""
        self._admin, self._topics, self._timeout_seconds, self._log = admin, topics, timeout_seconds, log
        self._renewed = renewed
        self._limit = LogLimiter()
        self._ids: dict[str, str] = {}
        self._retention = Retention(admin.client)
        self.latest: int | None = None
        self.problem: str | None = None

    def __call__(self) -> int | None:
        """Asks the brokers, for `timeout_seconds` at most per topic. None, and a log line, if it cannot count."""
        try:
            counts = partition_counts(self._admin, self._topics, self._timeout_seconds)
        except TopicsUnavailable as problem:
            self.problem = f"the partitions of kafka.topics are not counted: {problem}"
            if self._limit.allows("partitions", time.monotonic()):
                self._log.warning("partitions_not_counted", problem=str(problem))
            return None
        self.problem = unmatched(self._topics, counts, self._admin.properties)
        self._compare_ids(counts)
        self._retention.ask(counts)
        self.latest = sum(counts.values())
        return self.latest

    @property
    def retention_seconds(self) -> Mapping[str, float]:
        """How long each topic keeps its records, as far as the brokers tell. Asked again at each count; never waits."""
        return self._retention.seconds

    def _compare_ids(self, topics: Iterable[str]) -> None:
        for topic, now in topic_ids(self._admin, topics, self._timeout_seconds).items():
            before, self._ids[topic] = self._ids.get(topic, now), now
            if before != now:
                self._renewed(topic)


def unmatched(topics: Sequence[str], found: Iterable[str], properties: Properties) -> str | None:
    """Says which of the patterns among `topics` matches none of the `found` names, and what to do. None if none."""
    names = list(found)
    for pattern, matches in matchers(topics, properties).items():
        if not any(map(matches, names)):
            whole = "; with group.protocol=consumer it must match whole names: end it with .* to match what follows"
            hint = whole if uses_kip_848(properties) else ""
            return f"the pattern {pattern} matches no topic: create one, or mend WORKER_KAFKA__TOPICS{hint}"
    return None


def topic_ids(admin: Admin, topics: Iterable[str], timeout_seconds: float) -> Mapping[str, str]:
    """The ids of these topics: one that is deleted and made anew gets another id. Without those that have none."""
    names = list(topics)
    if not names:
        return {}
    asked = admin.client.describe_topics(TopicCollection(names), request_timeout=timeout_seconds)
    ids = {}
    for topic, answer in asked.items():
        try:
            found = answer.result().topic_id  # bounded by request_timeout
        except KafkaException:
            continue  # gone, or forbidden
        # Brokers before 2.8 give none, or 0. If that counted, upgrading them would look like a topic made anew.
        if found is not None and str(found) != _NO_ID:
            ids[topic] = str(found)
    return ids
