"""Where logs begin and end. One question for all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import TypeAlias

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import ListOffsetsResultInfo, OffsetSpec

from worker.core.model import Partition
from worker.kafka.connection import in_words
from worker.kafka.topics import Admin, TopicsUnavailable

_Answers: TypeAlias = Mapping[TopicPartition, Future[ListOffsetsResultInfo]]


def starts(admin: Admin, partitions: Iterable[Partition], timeout_seconds: float) -> Mapping[Partition, int]:
    """The first offset that each partition still has; errors as `ends`."""
    return _ask(admin, partitions, OffsetSpec.earliest(), timeout_seconds)  # type: ignore[no-untyped-call]  # so the library ships it


def ends(admin: Admin, partitions: Iterable[Partition], timeout_seconds: float) -> Mapping[Partition, int]:
    """The offset behind the last record of each partition that no open transaction holds back.

    Raises:
        TopicsUnavailable: The brokers did not answer for a partition. Says which, and why.
    """
    return _ask(admin, partitions, OffsetSpec.latest(), timeout_seconds)  # type: ignore[no-untyped-call]  # as above


def at(
    admin: Admin, partitions: Iterable[Partition], time_ms: int, timeout_seconds: float
) -> Mapping[Partition, int | None]:
    """The offset of each partition's first record at or after a time (milliseconds since the epoch).

    None if it has no such record; errors as `ends`. Where records are not in the order of their times, a later one may
    be older.
    """
    found = _ask(admin, partitions, OffsetSpec.for_timestamp(time_ms), timeout_seconds)
    return {partition: None if offset < 0 else offset for partition, offset in found.items()}


class Ends:
    """Asks where partitions end, without waiting: a job asks again and again while it does other things.

        ends.ask(now)
        ends.answer()  # None until it is there; then the ends, and when they were asked for

    Attributes:
        problem: why the latest question was not answered, in words. None if it was.
    """

    def __init__(self, admin: Admin, partitions: Iterable[Partition], timeout_seconds: float) -> None:
        self._admin = admin
        self._partitions = list(partitions)
        self._timeout_seconds = timeout_seconds
        self._asked: tuple[_Answers, float] | None = None
        self.problem: str | None = None

    def ask(self, now: float) -> None:
        """Asks, unless the answer to an earlier question is still to come. `now` is in monotonic seconds."""
        if self._asked is None:
            question = _question(self._admin, self._partitions, OffsetSpec.latest(), self._timeout_seconds)  # type: ignore[no-untyped-call]  # so the library ships it
            self._asked = question, now

    def answer(self) -> tuple[Mapping[Partition, int], float] | None:
        """The ends, and the time of the question. None if no answer has come, or it was an error: see `problem`."""
        if self._asked is None or not all(answer.done() for answer in self._asked[0].values()):
            return None
        answers, asked_at = self._asked
        self._asked = None
        try:
            found = _offsets(answers)
        except TopicsUnavailable as problem:
            self.problem = str(problem)
            return None
        self.problem = None
        return found, asked_at


def _ask(
    admin: Admin, partitions: Iterable[Partition], spec: OffsetSpec, timeout_seconds: float
) -> Mapping[Partition, int]:
    return _offsets(_question(admin, partitions, spec, timeout_seconds))


def _question(admin: Admin, partitions: Iterable[Partition], spec: OffsetSpec, timeout_seconds: float) -> _Answers:
    return admin.client.list_offsets(
        {TopicPartition(*partition): spec for partition in partitions},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=timeout_seconds,
    )


def _offsets(answers: _Answers) -> Mapping[Partition, int]:
    found = {}
    for of, answer in answers.items():
        try:
            found[Partition(of.topic, of.partition)] = answer.result().offset  # bounded by the question's time-out
        except KafkaException as failure:
            words = in_words(failure.args[0])
            raise TopicsUnavailable(f"topic {of.topic}, partition {of.partition}: {words}") from failure
    return found
