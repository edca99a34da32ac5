"""Checks of the brokers, the topics, the group and the dead-letter topic. Nothing is written or created."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, ConsumerGroupDescription, NewTopic
from structlog.typing import FilteringBoundLogger

from worker import wiring
from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.kafka.connection import PropertiesRefused, in_words
from worker.kafka.topics import Admin, TopicsUnavailable, compaction_problem, partition_counts, write_problem
from worker.settings.load import KafkaSettings, Settings

_PAUSE_SECONDS: Final = 0.25
# A cluster whose first group this is has to make its offsets topic.
_COORDINATOR_COMING: Final = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
_NEW_GROUP: Final = frozenset({KafkaError.GROUP_ID_NOT_FOUND})
_CANNOT_TELL: Final = frozenset({KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION})  # noqa: SLF001 - the library's public name for it


def check_kafka(settings: Settings, log: FilteringBoundLogger) -> Iterator[Finding]:
    """One line each for the brokers, every topic, the group and the dead-letter topic."""
    kafka = settings.kafka
    try:
        admin = Admin(wiring.kafka_properties(settings), log)
        cluster = admin.metadata(None, ASK_SECONDS)
    except (TopicsUnavailable, PropertiesRefused) as problem:
        yield Finding.fail(
            "brokers", str(problem), "set WORKER_KAFKA__BOOTSTRAP_SERVERS and WORKER_KAFKA__PROPERTIES to fit them"
        )
        for check in ("topics", "group", "dead letters"):
            yield Finding.fail(check, "could not be asked for", "mend 'brokers' first")
        return
    count = len(cluster.brokers)
    yield Finding.ok("brokers", f"{count} answer{'s' if count == 1 else ''}")
    partitions = 1
    for topic in kafka.topics:
        finding, found = _topic(admin, topic)
        partitions = max(partitions, found)
        yield finding
    yield _group(admin, kafka.group_id)
    yield _dead_letters(admin, kafka, partitions)


def _topic(admin: Admin, topic: str) -> tuple[Finding, int]:
    """The finding, and the number of partitions of the largest topic."""
    try:
        counts = partition_counts(admin, [topic], ASK_SECONDS)
    except TopicsUnavailable as problem:
        return Finding.fail("topics", str(problem), "set WORKER_KAFKA__TOPICS to the topics that there are"), 0
    if not counts:
        return Finding.warn("topics", f"the pattern {topic} matches no topic yet", "check WORKER_KAFKA__TOPICS"), 0
    unreadable = _read_problem(admin, list(counts))
    if unreadable is not None:
        return Finding.fail("topics", unreadable), 0
    total, largest = sum(counts.values()), max(counts.values())
    what = f"{topic}: {total} partition{'s' if total > 1 else ''}"
    return Finding.ok("topics", what + (f" in {len(counts)} topics" if topic not in counts else "")), largest


def _read_problem(admin: Admin, topics: list[str]) -> str | None:
    """Why one of the topics cannot be read; None where all can, or where the brokers do not tell."""
    asked = admin.client.describe_topics(
        TopicCollection(topics), include_authorized_operations=True, request_timeout=ASK_SECONDS
    )
    for topic, answer in asked.items():
        try:
            allowed = _allows(answer.result().authorized_operations, AclOperation.READ)  # bounded by request_timeout
        except KafkaException as failure:
            if _code(failure) in _CANNOT_TELL:
                return None
            return f"topic {topic}: {admin.explain(failure)}"
        if not allowed:
            return f"topic {topic}: not authorised to read: grant the worker READ on it"
    return None


def _group(admin: Admin, group_id: str) -> Finding:
    try:
        group = _described(admin, group_id)
    except KafkaException as failure:
        if _code(failure) in _NEW_GROUP:
            return _new_group(group_id)
        if _code(failure) == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return Finding.fail(
                "group", f"{group_id}: {in_words(failure.args[0])}", "grant the worker READ on the group"
            )
        return Finding.warn("group", f"{group_id}: could not be asked for: {admin.explain(failure)}")
    if not _allows(group.authorized_operations, AclOperation.READ):
        return Finding.fail("group", f"{group_id}: not authorised to join it", "grant the worker READ on the group")
    if group.state is ConsumerGroupState.DEAD:
        return _new_group(group_id)
    members = len(group.members)
    return Finding.ok("group", f"{group_id}: {members} member{'' if members == 1 else 's'} now")


def _described(admin: Admin, group_id: str) -> ConsumerGroupDescription:
    """What the brokers say of the group; a coordinator that is only coming up is waited for."""
    deadline = time.monotonic() + ASK_SECONDS
    while True:
        left = max(0.1, deadline - time.monotonic())
        asked = admin.client.describe_consumer_groups(
            [group_id], include_authorized_operations=True, request_timeout=left
        )
        try:
            description: ConsumerGroupDescription = asked[group_id].result()  # bounded by request_timeout
        except KafkaException as failure:
            if _code(failure) not in _COORDINATOR_COMING or time.monotonic() + _PAUSE_SECONDS > deadline:
                raise
        else:
            return description
        time.sleep(_PAUSE_SECONDS)


def _new_group(group_id: str) -> Finding:
    return Finding.ok("group", f"{group_id}: new, so the topics are read from their beginning unless set otherwise")


def _dead_letters(admin: Admin, kafka: KafkaSettings, partitions: int) -> Finding:
    topic = kafka.dead_letter_topic
    try:
        described = admin.metadata(topic, ASK_SECONDS).topics[topic]
    except TopicsUnavailable as problem:
        return Finding.fail("dead letters", str(problem))
    if described.error is None:
        why = write_problem(admin, topic, ASK_SECONDS) or compaction_problem(admin, topic, ASK_SECONDS)
        return (
            Finding.ok("dead letters", f"{topic}: may be written") if why is None else Finding.fail("dead letters", why)
        )
    if described.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        return Finding.fail(
            "dead letters",
            f"topic {topic}: {in_words(described.error)}",
            "grant the worker WRITE on it, and CREATE where it does not exist",
        )
    why = _creation_problem(admin, topic, partitions)
    if why is None:
        return Finding.ok("dead letters", f"{topic}: does not exist; the worker may create it, and does at its start")
    return Finding.fail(
        "dead letters",
        f"{topic}: does not exist, and cannot be created: {why}",
        f"create it with {partitions} partitions, or grant the worker CREATE",
    )


def _creation_problem(admin: Admin, topic: str, partitions: int) -> str | None:
    """Why the topic could not be created: the brokers are asked, and create nothing."""
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=-1)
    [answer] = admin.client.create_topics([wanted], validate_only=True, request_timeout=ASK_SECONDS).values()
    try:
        answer.result()  # bounded by request_timeout
    except KafkaException as failure:
        return admin.explain(failure)
    return None


def _allows(operations: Collection[Enum] | None, wanted: AclOperation) -> bool:
    """Whether the operation is among the authorised ones; brokers that do not tell are given the benefit."""
    return operations is None or wanted in operations or AclOperation.ALL in operations


def _code(failure: KafkaException) -> int:
    return int(failure.args[0].code())
