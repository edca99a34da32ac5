"""Asks the brokers what the worker is allowed to do, for `check`. Writes and creates nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, ConsumerGroupDescription, NewTopic

from worker.backoff import patiently
from worker.kafka.connection import in_words
from worker.kafka.topics import BROKER_DEFAULT_REPLICATION, Admin

_RETRY_SECONDS: Final = 0.25
# In a new cluster, the first question about a group makes the brokers create their offsets topic.
_COORDINATOR_STARTS: Final = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
_CANNOT_TELL: Final = frozenset({KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION})  # noqa: SLF001 - how the library names its local errors, which are public


class GroupForbidden(Exception):
    """The worker may not join the group."""


class GroupUnavailable(Exception):
    """The brokers did not say anything about the group. The message says why."""


def read_problem(admin: Admin, topics: Sequence[str], timeout_seconds: float) -> str | None:
    """Why the worker cannot read one of the topics. None if it can read all, or if the brokers are too old to say."""
    asked = admin.client.describe_topics(
        TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=timeout_seconds
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


def write_problem(admin: Admin, topic: str, timeout_seconds: float = 10.0) -> str | None:
    """Why the worker cannot write to the topic. None if it can."""
    asked = admin.client.describe_topics(
        TopicCollection([topic]), include_authorized_operations=True, request_timeout=timeout_seconds
    )
    try:
        described = asked[topic].result()  # bounded by request_timeout
    except KafkaException as failure:
        return f"topic {topic}: {admin.explain(failure)}"
    if not _allows(described.authorized_operations, AclOperation.WRITE):
        return f"topic {topic}: not authorised to write: grant the worker WRITE on it"
    return None


def creation_problem(admin: Admin, topic: str, partitions: int, timeout_seconds: float) -> str | None:
    """Why the worker cannot create the topic. None if it can, or if the topic exists. Creates nothing."""
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=BROKER_DEFAULT_REPLICATION)
    [answer] = admin.client.create_topics([wanted], validate_only=True, request_timeout=timeout_seconds).values()
    try:
        answer.result()  # bounded by request_timeout
    except KafkaException as failure:
        # A worker that starts meanwhile may have made it since somebody looked.
        return None if _code(failure) == KafkaError.TOPIC_ALREADY_EXISTS else admin.explain(failure)
    return None


def group_members(admin: Admin, group_id: str, timeout_seconds: float) -> int | None:
    """How many members the group has now. None if there is no such group yet.

    Raises:
        GroupForbidden: The worker may not join the group.
        GroupUnavailable: The brokers did not answer.
    """
    try:
        group = patiently(
            lambda: _described(admin, group_id, timeout_seconds),
            retry_on=_CoordinatorStarts,
            wait=lambda _: _RETRY_SECONDS,
            timeout_seconds=timeout_seconds,
        )
    except KafkaException as failure:
        if _code(failure) == KafkaError.GROUP_ID_NOT_FOUND:
            return None
        if _code(failure) == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise GroupForbidden(in_words(failure.args[0])) from None
        raise GroupUnavailable(admin.explain(failure)) from None
    if not _allows(group.authorized_operations, AclOperation.READ):
        raise GroupForbidden("not authorised to join it")
    return None if group.state is ConsumerGroupState.DEAD else len(group.members)


class _CoordinatorStarts(KafkaException):
    """The group's coordinator is not ready yet."""


def _described(admin: Admin, group_id: str, timeout_seconds: float) -> ConsumerGroupDescription:
    asked = admin.client.describe_consumer_groups(
        [group_id], include_authorized_operations=True, request_timeout=timeout_seconds
    )
    try:
        description: ConsumerGroupDescription = asked[group_id].result()  # bounded by request_timeout
    except KafkaException as failure:
        if _code(failure) in _COORDINATOR_STARTS:
            raise _CoordinatorStarts(failure.args[0]) from None
        raise
    return description


def _allows(operations: Collection[Enum] | None, wanted: AclOperation) -> bool:
    """Whether the operation is authorised. True if the brokers do not say."""
    return operations is None or wanted in operations or AclOperation.ALL in operations


def _code(failure: KafkaException) -> int:
    return int(failure.args[0].code())
