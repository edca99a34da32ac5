"""Offsets out: what one member of a consumer group commits, and what the brokers acknowledged of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.connection import RateLimit, in_words

_AGAIN_SECONDS: Final = 0.1
_NOTES_SECONDS: Final = 2.0


class Commits:
    """The commits of one consumer. Used by its thread only; `answered` is called by the consumer, within `poll`.

    Attributes:
        acknowledged: offsets that are committed, as the broker acknowledged or told, for partitions that are held.
        refused: how many commits, or partitions of them, the broker did not take.
    """

    def __init__(self, held: Collection[Partition], log: FilteringBoundLogger) -> None:
        """`held` is the consumer's live set of partitions: an answer for any other is too late to count."""
        self._held = held
        self._log = log
        self._limit = RateLimit()
        self._consumer: Consumer
        self.acknowledged: dict[Partition, int] = {}
        self.refused = 0

    def begin(self, consumer: Consumer) -> None:
        """The consumer, which wants `answered` at its making."""
        self._consumer = consumer

    def send(self, offsets: Mapping[Partition, int], note: str, *, wait: bool) -> None:
        """Commit once; with `wait`, returns with the broker's answer, and nothing bounds how long that takes.

        To wait like that is for a rebalance callback, where librdkafka answers nothing else: the coordinator has just
        called for the revoke, so it is alive. Should it freeze at that very moment, so does the caller.
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

    def see_through(self, offsets: Mapping[Partition, int], note: str, timeout_seconds: float) -> None:
        """Commit again and again until the broker has all of it, or the time is over.

        One attempt is not enough: a group that forms anew refuses what its members commit between the moment it has a
        new generation and the moment they hear of it.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._sent_and_taken(offsets, note, deadline) and time.monotonic() < deadline - _AGAIN_SECONDS:
            time.sleep(_AGAIN_SECONDS)

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes that were committed beside these partitions' offsets; None where the brokers do not tell in time.

        (An admin client could be asked in a rebalance callback too, but librdkafka 2.16.1 takes the process down when
        a coordinator that moves answers it.)
        """
        asked = [TopicPartition(*partition) for partition in partitions]
        try:
            answers = self._consumer.committed(asked, timeout=_NOTES_SECONDS)
        except KafkaException as failure:
            self._log.warning("committed notes not read", error=in_words(failure.args[0]))
            return None
        self.answered(None, answers)
        return [answer.metadata for answer in answers if answer.metadata]

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These are not held any more."""
        for partition in partitions:
            self.acknowledged.pop(partition, None)

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition] | None) -> None:
        """What the broker said to a commit, or of what is committed."""
        if error is not None:
            self._refuse(error)
            return
        for answer in partitions or ():
            if answer.error is not None:
                self._refuse(answer.error)
            elif answer.offset >= 0 and (partition := Partition(answer.topic, answer.partition)) in self._held:
                self.acknowledged[partition] = answer.offset

    def _sent_and_taken(self, offsets: Mapping[Partition, int], note: str, deadline: float) -> bool:
        wanted = {partition: offset for partition, offset in offsets.items() if partition in self._held}
        if not wanted:
            return True
        self.send(wanted, note, wait=False)
        # A synchronous commit has no time-out: before a frozen broker it outlasts any drain deadline. This question
        # goes to the same coordinator, behind the commit, and has one.
        try:
            self.answered(
                None, self._consumer.committed(_listed(wanted, note), timeout=max(0.0, deadline - time.monotonic()))
            )
        except KafkaException as failure:
            self._refuse(failure.args[0])
        return wanted.items() <= self.acknowledged.items()

    def _refuse(self, error: KafkaError) -> None:
        self.refused += 1
        if self._limit.allows(error.code()):
            self._log.warning("commit refused, the next one covers it", code=error.name(), error=error.str())


def _listed(offsets: Mapping[Partition, int], note: str) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset, note) for partition, offset in offsets.items()]
