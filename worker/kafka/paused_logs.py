"""Where the logs of paused partitions begin and end.

A consumer learns both with each fetch. It does not fetch a paused partition, and just there people want to see the lag
grow, and to hear at once of records that are deleted before they are read. So an admin client asks, without waiting.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from itertools import cycle
from typing import Final, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.connection import Connection
from worker.kafka.properties import Properties, admin_properties

REFRESH_SECONDS: Final = 5.0

_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # so the library ships it
_EARLIEST: Final[OffsetSpec] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # as above
# An end moves all the time, a start seldom. One request at a time asks the brokers no more than before.
_ROUND: Final = (_LATEST, _EARLIEST, _LATEST, _LATEST)


class Bounds(NamedTuple):
    """What is known of some partitions: the first offset that each still has, and the one behind its last."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]


class PausedLogs:
    """Asks in the background, at most once in `REFRESH_SECONDS`, and keeps the latest answers.

    It asks for the starts once in four times, for the ends else.
    """

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        self._properties, self._log = properties, log
        self._admin: AdminClient | None = None  # made when a partition is first paused: it costs a connection
        self._asked_at = float("-inf")
        self._round = cycle(_ROUND)
        self._spec = _LATEST  # what is pending
        self._pending: dict[Partition, Future[ListOffsetsResultInfo]] = {}
        self._starts: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}

    def of(self, partitions: Iterable[Partition]) -> Bounds:
        """The latest answers for these partitions. Asks again when it is time. Never waits."""
        wanted = set(partitions)
        self._collect()
        self.forget({*self._starts, *self._ends} - wanted)
        now = time.monotonic()
        if wanted and not self._pending and now - self._asked_at >= REFRESH_SECONDS:
            self._asked_at = now
            self._ask(wanted)
        return Bounds(self._starts, self._ends)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """What was heard of these partitions, or is asked, may be of a log that is no more."""
        for partition in partitions:
            for known in (self._starts, self._ends, self._pending):
                known.pop(partition, None)

    def _ask(self, partitions: Iterable[Partition]) -> None:
        if self._admin is None:
            callbacks = Connection("paused logs", self._log).callbacks()
            self._admin = AdminClient(
                {**admin_properties(self._properties), **callbacks}  # type: ignore[dict-item]  # the stub forgets callbacks
            )
        self._admin.poll(0)  # serves the log and error queues, which would grow otherwise
        self._spec = next(self._round)
        asked = self._admin.list_offsets(
            {TopicPartition(*partition): self._spec for partition in partitions}, request_timeout=REFRESH_SECONDS
        )
        self._pending = {Partition(of.topic, of.partition): answer for of, answer in asked.items()}

    def _collect(self) -> None:
        known = self._starts if self._spec is _EARLIEST else self._ends
        for partition, answer in list(self._pending.items()):
            if answer.done():
                del self._pending[partition]
                # After a failure keep the previous answer. The consumer's `problem` says that no broker answers.
                if not isinstance(answer.exception(), KafkaException):
                    known[partition] = answer.result().offset
