"""One group member's commits: sends them, and keeps what the broker acknowledges."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.backoff import patiently
from worker.core.model import Partition
from worker.kafka.connection import in_words
from worker.logs import LogLimiter

_RETRY_SECONDS: Final = 0.1
_NOTES_SECONDS: Final = 2.0


class Commits:
    """The commits of one consumer. Used by its thread only. The consumer calls `answered` from within `poll`.

    Attributes:
        acknowledged: Committed offsets of assigned partitions, as the broker acknowledged or reported them.
        refused: How many commits the broker refused, counted per partition where it says so.
    """

    def __init__(self, assigned: Collection[Partition], log: FilteringBoundLogger) -> None:
        """`assigned` is the member's live set of partitions: an answer for any other one comes too late."""
        self._assigned = assigned
        self._log = log
        self._limit = LogLimiter()
        self._consumer: Consumer
        self.acknowledged: dict[Partition, int] = {}
        self.refused = 0

    def begin(self, consumer: Consumer) -> None:
        """Sets the consumer. Set later, because Consumer() needs `answered` as its on_commit callback."""
        self._consumer = consumer

    def send(self, offsets: Mapping[Partition, int], note: str, *, wait: bool) -> None:
        """Commits once. With `wait`, returns when the broker has answered, however long that takes.

        Wait only in a rebalance callback, where librdkafka answers nothing else. The coordinator has just asked for
        the revoke, so it is alive. If it freezes at that very moment, the caller freezes too.
        """
        if not offsets:
            return
        try:
            if wait:
                self.answered(None, self._consumer.commit(offsets=_listed(offsets, note), asynchronous=False))
            else:
                self._consumer.commit(offsets=_listed(offsets, note), asynchronous=True)
        except KafkaException as failure:
            self._refuse(failure.args[0])

    def commit_until_acknowledged(self, offsets: Mapping[Partition, int], note: str, timeout_seconds: float) -> None:
        """Commits again and again until the broker has acknowledged everything, or the time is over.

        One attempt is not enough. When a group rebalances, the coordinator moves to a new generation first, and each
        member learns of it later. In between it refuses the member's commits.
        """
        deadline = time.monotonic() + timeout_seconds
        with suppress(_NotAcknowledged):
            patiently(
                lambda: self._commit_and_ask(offsets, note, deadline),
                retry_on=_NotAcknowledged,
                wait=lambda _: _RETRY_SECONDS,
                timeout_seconds=timeout_seconds,
            )

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes committed beside these partitions' offsets. None if the brokers do not answer in time.

        An admin client could ask even in a rebalance callback. But librdkafka 2.16.1 aborts the process when a
        coordinator that is moving answers it.
        """
        asked = [TopicPartition(*partition) for partition in partitions]
        try:
            answers = self._consumer.committed(asked, timeout=_NOTES_SECONDS)
        except KafkaException as failure:
            self._log.warning("notes_not_read", error=in_words(failure.args[0]))
            return None
        self.answered(None, answers)
        return [answer.metadata for answer in answers if answer.metadata]

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions are no longer assigned."""
        for partition in partitions:
            self.acknowledged.pop(partition, None)

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition] | None) -> None:
        """Takes the broker's answer to a commit, or to a query of committed offsets."""
        if error is not None:
            self._refuse(error)
            return
        for answer in partitions or ():
            if answer.error is not None:
                self._refuse(answer.error)
            elif answer.offset >= 0 and (partition := Partition(answer.topic, answer.partition)) in self._assigned:
                self.acknowledged[partition] = answer.offset

    def _commit_and_ask(self, offsets: Mapping[Partition, int], note: str, deadline: float) -> None:
        wanted = {partition: offset for partition, offset in offsets.items() if partition in self._assigned}
        if not wanted:
            return
        self.send(wanted, note, wait=False)
        # A synchronous commit has no time-out: against a frozen broker it outlasts any drain deadline. So commit
        # without waiting, then ask what is committed. The question reaches the coordinator after the commit, and has
        # a time-out.
        try:
            self.answered(
                None, self._consumer.committed(_listed(wanted, note), timeout=max(0.0, deadline - time.monotonic()))
            )
        except KafkaException as failure:
            self._refuse(failure.args[0])
        if not wanted.items() <= self.acknowledged.items():
            raise _NotAcknowledged

    def _refuse(self, error: KafkaError) -> None:
        self.refused += 1
        if self._limit.allows(error.code(), time.monotonic()):
            self._log.warning("commit_refused", code=error.name(), error=error.str())


class _NotAcknowledged(Exception):
    """The broker has not acknowledged every offset of a commit."""


def _listed(offsets: Mapping[Partition, int], note: str) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset, note) for partition, offset in offsets.items()]
