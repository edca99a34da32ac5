"""What the demo runs on: an embedded Kafka, and the worker as its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.commands.demo.traffic import SCHEMA_ID, Planned
from worker.core.avro.framing import HEADER_BYTES
from worker.core.letters.codec import LetterReader
from worker.core.model import Letter, Partition, Reason, Record
from worker.kafka.bounds import ends
from worker.kafka.range import Range, Span
from worker.kafka.topics import Admin
from worker.registry.bundled import bundled
from worker.settings.model import KafkaSettings

TOPIC: str = KafkaSettings.model_fields["topics"].default[0]
DEAD_LETTER_TOPIC: str = KafkaSettings.model_fields["dead_letter_topic"].default
GROUP = "attribute-worker-demo"

_METADATA_SECONDS = 10.0
_READ_SECONDS = 10.0
_FLUSH_SECONDS = 10.0
_STATUS_SECONDS = 2.0
_KILL_AFTER_SECONDS = 10.0
_QUIET = {"log_level": "2"}  # otherwise the mock announces itself on stderr

Provoked = frozenset[tuple[str, int, int]]
"""Dead letters: the reason, and the partition and offset of the change."""


class StageFailed(Exception):
    """What the demo runs on failed, not what it shows. The message says what."""


class EmbeddedKafka:
    """librdkafka's mock broker. It lives as long as this object, and other processes can reach it."""

    def __init__(self) -> None:
        self._producer = Producer(
            {"bootstrap.servers": "mock", "test.mock.num.brokers": "1", "linger.ms": "5", **_QUIET}
        )
        brokers = self._producer.list_topics(timeout=_METADATA_SECONDS).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self._producer.list_topics(TOPIC, timeout=_METADATA_SECONDS)  # creates it
        self._provoked: set[tuple[str, int, int]] = set()
        self._failure: KafkaError | None = None
        self.acknowledged = 0

    def produce(self, events: Sequence[Planned]) -> None:
        """Writes the events in order. `acknowledged` counts those that arrived.

        Raises:
            StageFailed: An event could not be written.
        """
        for event in events:

            def arrived(error: KafkaError | None, message: Message, reason: Reason | None = event.provokes) -> None:
                self._arrived(error, message, reason)

            self._producer.produce(TOPIC, event.encode(), event.key, on_delivery=arrived)
        self._producer.poll(0)
        if self._failure is not None:
            raise StageFailed(f"the embedded Kafka refused an event: {self._failure}")

    def flush(self) -> None:
        """Waits until every event has arrived.

        Raises:
            StageFailed: One did not.
        """
        if self._producer.flush(_FLUSH_SECONDS) or self._failure is not None:
            raise StageFailed(f"the embedded Kafka took no more events: {self._failure or 'no answer in time'}")

    @property
    def provoked(self) -> Provoked:
        """The dead letters that the events written so far must cause."""
        return frozenset(self._provoked)

    def dead_letters(self) -> list[Letter]:
        """Every dead letter in the topic.

        Raises:
            StageFailed: The topic could not be read to its end.
        """
        reader = LetterReader(bundled("dead_letter"))
        return [reader.read(record, HEADER_BYTES) for record in self._read(DEAD_LETTER_TOPIC)]

    def committed(self) -> int:
        """How many events are before the offsets that the worker's group has committed."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": GROUP, **_QUIET})
        with closing(consumer):
            asked = [TopicPartition(*partition) for partition in self._partitions(TOPIC)]
            return sum(max(0, offset.offset) for offset in consumer.committed(asked, timeout=_READ_SECONDS))

    def _arrived(self, error: KafkaError | None, message: Message, reason: Reason | None) -> None:
        if error is not None:
            self._failure = error
            return
        self.acknowledged += 1
        if reason is not None:
            self._provoked.add((reason.value, message.partition() or 0, message.offset() or 0))

    def _partitions(self, topic: str) -> list[Partition]:
        described = self._producer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
        return [Partition(topic, number) for number in described.partitions]

    def _read(self, topic: str) -> list[Record]:
        properties = {"bootstrap.servers": self.bootstrap_servers, "group.id": "demo-proof", **_QUIET}
        log: FilteringBoundLogger = structlog.get_logger()
        stops = ends(Admin(properties, log), self._partitions(topic), _READ_SECONDS)
        records: list[Record] = []
        deadline = time.monotonic() + _READ_SECONDS
        with Range(properties, {partition: Span(0, stop) for partition, stop in stops.items()}, log) as reader:
            while reader.unread:
                if time.monotonic() > deadline:
                    raise StageFailed(f"{topic} could not be read to its end")
                records += reader.poll(0.1)
        return records


class WorkerDied(Exception):
    """The worker ended by itself. `lines` are the last lines of its log."""

    def __init__(self, status: int, lines: Sequence[str]) -> None:
        super().__init__(f"the worker ended by itself, with status {status}")
        self.lines = lines


class WorkerProcess:
    """`attribute-worker run`, configured by its environment alone. A context manager: the process ends with it."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        """Its log goes to `directory`. `settings` are all its `WORKER_` variables, except those for the log."""
        self._log = directory / "worker.log"
        self._address: tuple[str, int] | None = None
        inherited = {
            name: value for name, value in os.environ.items() if not name.upper().startswith(("WORKER_", "OTEL_"))
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"],
                env={**inherited, **settings, "WORKER_LOG__FORMAT": "json", "WORKER_LOG__LEVEL": "info"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to the demo only, which then stops the worker.
                process_group=0,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def status(self) -> Mapping[str, Any] | None:
        """What `/status` says now. None while it does not answer yet.

        Raises:
            WorkerDied: The worker has ended.
        """
        ended = self._process.poll()
        if ended is not None:
            raise WorkerDied(ended, self.last_lines())
        self._address = self._address or self._served()
        if self._address is None:
            return None
        with closing(HTTPConnection(*self._address, timeout=_STATUS_SECONDS)) as connection:
            try:
                connection.request("GET", "/status")
                response = connection.getresponse()
                document: Mapping[str, Any] | None = json.load(response) if response.status == HTTPStatus.OK else None
            except (OSError, HTTPException, ValueError):
                return None
        return document

    def stop(self) -> int:
        """Stops it by SIGTERM, as Kubernetes does; kills it if it does not end. Returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(_KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_lines(self, count: int = 12) -> list[str]:
        """The last lines of its log."""
        with self._log.open(encoding="utf-8", errors="replace") as log:
            return [line.rstrip("\n") for line in deque(log, count)]

    def _served(self) -> tuple[str, int] | None:
        """The address in its log. A line that is only half written is read next time."""
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("event") == "serving":
                return entry["host"], entry["port"]
        return None


def write_schemas(directory: Path) -> None:
    """Fills a directory with `<id>.avsc` files, which replaces a registry."""
    for schema_id, name in ((SCHEMA_ID, "profile_changed"), (SCHEMA_ID + 1, "dead_letter")):
        (directory / f"{schema_id}.avsc").write_text(json.dumps(bundled(name)), encoding="utf-8")
