"""Writes a receipt of each call. It never waits, nothing waits for it, and what it cannot write it counts as lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from structlog.typing import FilteringBoundLogger

from worker.core.facts import CallEnded, Fact
from worker.core.receipts.receipt import Receipt
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, producer_properties
from worker.logs import LogLimiter

Encoder = Callable[[CallEnded, Receipt], bytes | None]
"""Encodes a receipt, see `receipts.codec.encode`. None while the id of its schema is not known."""

WAITING_MAX: Final = 100_000
"""Bound of what waits here, in receipts and the names in them: about 10 MB. librdkafka's queue has its own bound."""
_BOUNDS: Final[Properties] = {
    # Not idempotent: such a producer may fail for good, and a receipt that is there twice does no harm.
    "enable.idempotence": "false",
    "message.timeout.ms": "30000",
    "linger.ms": "50",
    "batch.num.messages": "10000",
    "queue.buffering.max.messages": "10000",
    "queue.buffering.max.kbytes": "16384",
}


class Receipts:
    """Observes the ends of calls, and writes their receipts. Main thread only.

    Attributes:
        written: receipts that the brokers acknowledged.
        lost: receipts that were given up.
        problem: why the latest one was lost, in words. None once one was written again.

    Example:
        >>> receipts.observe(CallEnded(..., receipt=Receipt(...)))
        >>> receipts.step()  # now and then
        >>> receipts.written, receipts.lost
        (1, 0)
    """

    def __init__(self, properties: Properties, topic: str, encode: Encoder, log: FilteringBoundLogger) -> None:
        """Does not wait for the brokers.

        Raises:
            PropertiesRefused: See `connecting`.
        """
        self._topic, self._encode, self._log = topic, encode, log
        self._waiting: deque[tuple[CallEnded, Receipt]] = deque()
        self._size = 0
        self._limit = LogLimiter()
        self.written = 0
        self.lost = 0
        self.problem: str | None = None
        connection = Connection("receipts", log)
        with connecting():
            self._producer = Producer({**producer_properties(properties), **_BOUNDS, **connection.callbacks()})

    def observe(self, fact: Fact) -> None:
        """Queues the receipt of a call that ended."""
        if not isinstance(fact, CallEnded) or fact.receipt is None:
            return
        size = _size(fact.receipt)
        if self._size + size > WAITING_MAX:
            self._lose("more calls end than receipts can be written")
            return
        self._waiting.append((fact, fact.receipt))
        self._size += size
        if len(self._waiting) == 1:  # else `step` tries again
            self._push()

    def step(self) -> None:
        """Takes the delivery reports that have come, and goes on writing. Never waits."""
        self._producer.poll(0)
        self._push()

    def close(self, timeout_seconds: float) -> None:
        """Waits for the delivery reports of what is queued; what has none by then is lost."""
        self._push()
        left = self._producer.flush(timeout_seconds) + len(self._waiting)
        for _ in range(left):
            self._lose("the worker stopped before the brokers had acknowledged it")

    def _push(self) -> None:
        while self._waiting:
            ended, receipt = self._waiting[0]
            value = self._encode(ended, receipt)
            if value is None:
                return
            try:
                self._producer.produce(self._topic, value, on_delivery=self._reported)
            except BufferError:  # librdkafka's queue is full
                return
            except KafkaException as failure:
                self._lose(in_words(failure.args[0]))
            self._waiting.popleft()
            self._size -= _size(receipt)

    def _reported(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._lose(in_words(error))
            return
        self.written += 1
        self.problem = None

    def _lose(self, why: str) -> None:
        self.lost += 1
        self.problem = f"receipts are lost, calls go on: topic {self._topic}: {why}"
        if self._limit.allows("lost", time.monotonic()):
            self._log.warning("receipts_lost", topic=self._topic, lost=self.lost, error=why)


def _size(receipt: Receipt) -> int:
    return 1 + sum(len(one.attributes) for one in receipt.positions)
