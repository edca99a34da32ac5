"""The dead-letter producer. It is idempotent, and its delivery reports settle the letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from structlog.typing import FilteringBoundLogger

from worker.core.letters.codec import Encoded
from worker.core.model import Letter
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.properties import Properties, producer_properties

LARGEST_BYTES: Final = 1_000_000
"""A larger letter is cut. Just under the brokers' default of message.max.bytes."""
_SMALLEST_BYTES: Final = 2048
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Encoder = Callable[[Letter, int], Encoded]
"""Encodes a letter so that key and value together stay below the given bytes, see `letters.codec.encode`."""


class DeadLetters:
    """Publishes letters, and reports later which ones are written. Main thread only.

    Args:
        properties: The user's librdkafka properties, with `bootstrap.servers`.
        topic: The dead-letter topic.
        encode: Encodes a letter.
        log: Gets rate-limited lines without any content of a letter.

    Example:
        >>> letters.publish(letter)
        >>> letters.results()  # some turns later
        [(letter, None)]
    """

    def __init__(self, properties: Properties, topic: str, encode: Encoder, log: FilteringBoundLogger) -> None:
        self._properties, self._topic, self._encode, self._log = properties, topic, encode, log
        self._waiting: deque[Letter] = deque()
        self._in_flight: set[Letter] = set()
        self._results: list[tuple[Letter, str | None]] = []
        # Shrinks with each refusal: a topic may accept less than the brokers' default.
        self._max_bytes = LARGEST_BYTES
        self._connection, self._producer = self._connect()

    @property
    def problem(self) -> str | None:
        """What is wrong with the producer's connection, in words. None when all is well."""
        return self._connection.problem

    def publish(self, letter: Letter) -> None:
        """Queues a letter. If it is refused, `results` says so, never this call."""
        self._waiting.append(letter)
        if len(self._waiting) == 1:  # else the local queue is full, and `results` tries again
            self._push()

    def results(self) -> list[tuple[Letter, str | None]]:
        """The outcomes since the last call. Never waits.

        Returns:
            Pairs of a letter and None if every in-sync replica has it, else the error in words. The caller publishes
            a failed letter again. The broker may have written it all the same: both copies have the same `id`.
        """
        self._producer.poll(0)
        if self._connection.fatal is not None:
            self._replace_producer(self._connection.fatal)
        self._push()
        decided, self._results = self._results, []
        return decided

    def close(self, timeout_seconds: float) -> None:
        """Waits for the delivery reports of published letters; `results` then returns them. Unsent letters get none."""
        self._push()
        self._producer.flush(timeout_seconds)

    def _connect(self) -> tuple[Connection, Producer]:
        connection = Connection("dead letters", self._log)
        with connecting():
            return connection, Producer({**producer_properties(self._properties), **connection.callbacks()})

    def _replace_producer(self, error: str) -> None:
        """Makes a new producer. After a fatal error (a broken idempotent sequence) the old one never works again."""
        self._log.error("dead_letter_producer_replaced", error=error)
        # Clear it before the purge. The purge's delivery reports then find no letter in flight, so none fails twice.
        self._results += [(letter, error) for letter in self._in_flight]
        self._in_flight.clear()
        self._producer.purge()
        self._producer.flush(0)
        self._connection, self._producer = self._connect()

    def _push(self) -> None:
        while self._waiting:
            letter = self._waiting[0]
            key, value, headers = self._encode(letter, self._max_bytes)
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    key,
                    headers=headers,
                    on_delivery=partial(self._reported, letter, len(value) + len(key or b"")),
                )
            except BufferError:  # the local queue is full: the next call of `results` tries again
                return
            except KafkaException as failure:
                self._waiting.popleft()
                self._refused(letter, failure.args[0], len(value))
            else:
                self._waiting.popleft()
                self._in_flight.add(letter)

    def _reported(self, letter: Letter, size: int, error: KafkaError | None, _: Message) -> None:
        if letter not in self._in_flight:  # the producer was replaced, and `_replace_producer` has reported it
            return
        self._in_flight.discard(letter)
        if error is None:
            self._connection.answered()
            self._results.append((letter, None))
        else:
            self._refused(letter, error, size)

    def _refused(self, letter: Letter, error: KafkaError, size: int) -> None:
        smaller = size // 2
        if error.code() in _TOO_LARGE and smaller >= _SMALLEST_BYTES:
            self._max_bytes = min(self._max_bytes, smaller)
            self._waiting.append(letter)
            return
        self._results.append((letter, f"topic {self._topic}: {in_words(error)}"))
