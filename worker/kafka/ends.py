"""End offsets of partitions that are not fetched.

A consumer learns an end with each fetch. Of a paused partition it learns nothing more, just when a growing lag is
what one wants to see; so those are asked for, by a client of their own and without waiting.
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
from worker.kafka.connection import Connection, Properties, admin_properties

ENDS_REFRESH_SECONDS: Final = 5.0


class Ends:
    """Asks for ends in the background, at most once in `ENDS_REFRESH_SECONDS`, and keeps the last answers."""

    def __init__(self, properties: Properties, log: FilteringBoundLogger) -> None:
        self._properties, self._log = properties, log
        self._admin: AdminClient | None = None  # a connection more, only once something is paused
        self._asked_at = float("-inf")
        self._pending: dict[Partition, Future[ListOffsetsResultInfo]] = {}
        self._known: dict[Partition, int] = {}

    def of(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """Return the last answers for these partitions, and ask anew when it is time. Never waits."""
        wanted = set(partitions)
        self._collect()
        self._known = {partition: end for partition, end in self._known.items() if partition in wanted}
        now = time.monotonic()
        if wanted and not self._pending and now - self._asked_at >= ENDS_REFRESH_SECONDS:
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
            {TopicPartition(*partition): latest for partition in partitions}, request_timeout=ENDS_REFRESH_SECONDS
        )
        self._pending = {Partition(of.topic, of.partition): answer for of, answer in asked.items()}

    def _collect(self) -> None:
        for partition, answer in list(self._pending.items()):
            if answer.done():
                del self._pending[partition]
                # A failure leaves the last answer standing; the consumer's own `problem` says that brokers are away.
                if not isinstance(answer.exception(), KafkaException):
                    self._known[partition] = answer.result().offset
