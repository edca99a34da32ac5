"""A consumer group from outside, while it is stopped: who is in it, what it committed, and how to move that."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.closing import close_within
from worker.kafka.committed import Committed, GroupUnavailable, committed, unavailable, while_it_moves
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, consumer_properties, without_membership
from worker.kafka.topics import Admin

_POLL_SECONDS: Final = 0.1
_CLOSE_SECONDS: Final = 1.0
# So brokers answer a commit from outside if the group has members.
_TAKEN: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
_NO_GROUP: Final = KafkaError.GROUP_ID_NOT_FOUND


class GroupTaken(Exception):
    """The group has members, so the brokers let nobody else commit. Nothing has moved."""


class Member(NamedTuple):
    """A member of the group. One with an `instance` is static: the group keeps its place while it is away."""

    client_id: str
    host: str
    instance: str | None


class StoppedGroup:
    """Asks for and moves a group's committed offsets, without being a member. A context manager.

    The brokers themselves refuse to move them while the group has members. So nothing is lost if one comes meanwhile.

    Args:
        properties: the user's librdkafka properties, with `bootstrap.servers` and `group.id`.
        admin: for questions about members.
        log: gets rate-limited lines.
        timeout_seconds: of each question.

    Raises:
        PropertiesRefused: See `connecting`.
    """

    def __init__(
        self, properties: Properties, admin: Admin, log: FilteringBoundLogger, timeout_seconds: float = 8.0
    ) -> None:
        self.group_id = properties["group.id"]
        self._admin = admin
        self._timeout_seconds = timeout_seconds
        self._connection = Connection("group", log)
        self._answers: list[tuple[KafkaError | None, list[TopicPartition]]] = []
        callbacks = {**self._connection.callbacks(), "on_commit": self._answered}
        with connecting():
            self._consumer = Consumer({**consumer_properties(without_membership(properties)), **callbacks})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_within(self._consumer, _CLOSE_SECONDS)

    def members(self) -> list[Member]:
        """The group's members, also static ones that are away. None of a group that does not exist.

        Raises:
            GroupUnavailable: The brokers do not say.
        """
        return while_it_moves(self._members, self._timeout_seconds)

    def _members(self) -> list[Member]:
        asked = self._admin.client.describe_consumer_groups([self.group_id], request_timeout=self._timeout_seconds)
        try:
            found = asked[self.group_id].result()  # bounded by request_timeout
        except KafkaException as failure:
            if failure.args[0].code() == _NO_GROUP:
                return []
            raise unavailable(failure.args[0], f"group {self.group_id}: {self._admin.explain(failure)}") from failure
        members = [Member(each.client_id, each.host.lstrip("/"), each.group_instance_id) for each in found.members]
        return sorted(members, key=lambda member: (member.client_id, member.host, member.instance or ""))

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed]:
        """What the group committed.

        Raises:
            GroupUnavailable: The brokers do not say.
        """
        try:
            return committed(self._consumer, self._connection, partitions, self._timeout_seconds)
        except GroupUnavailable as error:
            raise GroupUnavailable(f"group {self.group_id}: {error}") from error

    def move(self, to: Mapping[Partition, tuple[int, str]]) -> None:
        """Commits these offsets with their notes, in one request. Returns when the brokers have acknowledged it.

        Raises:
            GroupTaken: The group has members.
            GroupUnavailable: The brokers refuse, or did not answer in time: then the offsets may have moved.
        """
        listed = [TopicPartition(*partition, offset, note) for partition, (offset, note) in to.items()]
        while_it_moves(lambda: self._commit(listed), self._timeout_seconds)

    def _commit(self, listed: list[TopicPartition]) -> None:
        self._answers.clear()
        try:
            self._consumer.commit(offsets=listed, asynchronous=True)  # a synchronous one has no time-out
        except KafkaException as failure:
            raise unavailable(failure.args[0], self._explained(failure.args[0])) from failure
        deadline = time.monotonic() + self._timeout_seconds
        while not self._answers:
            if time.monotonic() > deadline:
                why = self._connection.problem or "no answer in time"
                raise GroupUnavailable(f"group {self.group_id}: {why}; whether the offsets moved is not known")
            self._consumer.poll(_POLL_SECONDS)
        for error, answered in self._answers:
            for problem in (error, *(each.error for each in answered)):
                if problem is not None and problem.code() in _TAKEN:
                    raise GroupTaken
                if problem is not None:
                    raise unavailable(problem, self._explained(problem))

    def _answered(self, error: KafkaError | None, partitions: list[TopicPartition] | None) -> None:
        self._answers.append((error, partitions or []))

    def _explained(self, error: KafkaError) -> str:
        self._consumer.poll(0)  # the client's earlier errors say why
        return f"group {self.group_id}: {self._connection.problem or in_words(error)}"
