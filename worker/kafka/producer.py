"""Dead letters out: an idempotent producer whose delivery reports settle what they carry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from structlog.typing import FilteringBoundLogger

from worker.core.letters.codec import Encoded
from worker.core.model import Letter
from worker.kafka.connection import Connection, Properties, connecting, in_words, producer_properties

_LARGEST_BYTES: Final = 1_000_000  # a little under the brokers' default of message.max.bytes
_SMALLEST_BYTES: Final = 2048
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Encoder = Callable[[Letter, int], Encoded]
"""Writes a letter so that key and value together stay below the given bytes, see `letters.encode`."""


class DeadLetters:
    """Publishes letters and tells, later, which are safe. Main thread only.

    Args:
        properties: the user's librdkafka properties with `bootstrap.servers`.
        topic: the dead-letter topic.
        encode: how a letter becomes bytes.
        log: receives rate-limited lines that hold no letter's content.
    """

    def __init__(self, properties: Properties, topic: str, encode: Encoder, log: FilteringBoundLogger) -> None:
        self._properties, self._topic, self._encode, self._log = properties, topic, encode, log
        self._waiting: deque[Letter] = deque()
        self._in_flight: set[Letter] = set()
        self._results: list[tuple[Letter, str | None]] = []
        # Learned from refusals: a topic may take less than the brokers' default.
        self._max_bytes = _LARGEST_BYTES
        self._connection, self._producer = self._connect()

    @property
    def problem(self) -> str | None:
        """What is wrong with the producer's connection, in words; None when all is well."""
        return self._connection.problem

    def publish(self, letter: Letter) -> None:
        """Queue a letter. A refusal comes out of `results`, never from here."""
        self._waiting.append(letter)
        self._push()

    def results(self) -> list[tuple[Letter, str | None]]:
        """Take what was decided since the last call, without waiting.

        Returns:
            Pairs of a letter and None where every in-sync replica has it, else the error in words; such a letter
            is the caller's to publish again (it may have been written all the same: its `id` tells).
        """
        self._producer.poll(0)
        if self._connection.fatal is not None:
            self._replace_producer(self._connection.fatal)
        self._push()
        decided, self._results = self._results, []
        return decided

    def close(self, timeout_seconds: float) -> None:
        """Wait for what was published; `results` has it afterwards. What is left is neither written nor reported."""
        self._push()
        self._producer.flush(timeout_seconds)

    def _connect(self) -> tuple[Connection, Producer]:
        connection = Connection("dead letters", self._log)
        with connecting():
            return connection, Producer({**producer_properties(self._properties), **connection.callbacks()})

    def _replace_producer(self, error: str) -> None:
        """Begin anew after a fatal error (a broken idempotent sequence): no retry by the old producer can succeed."""
        self._log.error("producer of dead letters replaced", error=error)
        # First, so that the reports of the purge below find nothing more to say.
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
            except BufferError:  # the local queue is full: the next call tries again
                return
            except KafkaException as failure:
                self._waiting.popleft()
                self._refused(letter, failure.args[0], len(value))
            else:
                self._waiting.popleft()
                self._in_flight.add(letter)

    def _reported(self, letter: Letter, size: int, error: KafkaError | None, _: Message) -> None:
        if letter not in self._in_flight:  # given up with a producer that was replaced
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
        self._results.append((letter, in_words(error)))
