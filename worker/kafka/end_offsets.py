"""End offsets of paused partitions.

A consumer learns a partition's end offset with each fetch. It does not fetch a paused partition, and just there people
want to see the lag grow. So an admin client asks for these end offsets, without waiting.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.kafka.connection import Connection
from worker.kafka.properties import Properties, admin_properties

REFRESH_SECONDS: Final = 5.0


class EndOffsets:
    """Asks for end offsets in the background, at most once in `REFRESH_SECONDS`, and keeps the latest answers."""

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        self._properties, self._log = properties, log
        self._admin: AdminClient | None = None  # made when a partition is first paused: it costs a connection
        self._asked_at = float("-inf")
        self._pending: dict[Partition, Future[ListOffsetsResultInfo]] = {}
        self._known: dict[Partition, int] = {}

    def of(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """The latest answers for these partitions. Asks again when it is time. Never waits."""
        wanted = set(partitions)
        self._collect()
        self._known = {partition: end for partition, end in self._known.items() if partition in wanted}
        now = time.monotonic()
        if wanted and not self._pending and now - self._asked_at >= REFRESH_SECONDS:
            self._asked_at = now
            self._ask(wanted)
        return self._known

    def _ask(self, partitions: Iterable[Partition]) -> None:
        if self._admin is None:
            callbacks = Connection("end offsets", self._log).callbacks()
            self._admin = AdminClient(
                {**admin_properties(self._properties), **callbacks}  # type: ignore[dict-item]  # the stub forgets callbacks
            )
        self._admin.poll(0)  # serves the log and error queues, which would grow otherwise
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # so the library ships it
        asked = self._admin.list_offsets(
            {TopicPartition(*partition): latest for partition in partitions}, request_timeout=REFRESH_SECONDS
        )
        self._pending = {Partition(of.topic, of.partition): answer for of, answer in asked.items()}

    def _collect(self) -> None:
        for partition, answer in list(self._pending.items()):
            if answer.done():
                del self._pending[partition]
                # After a failure keep the previous answer. The consumer's `problem` says that no broker answers.
                if not isinstance(answer.exception(), KafkaException):
                    self._known[partition] = answer.result().offset
