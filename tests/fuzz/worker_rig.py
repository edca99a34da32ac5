"""The whole worker in a thread: on the embedded mock broker, before an API that refuses some users."""

from __future__ import annotations

import gc
import io
import json
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import fastavro
import structlog
from confluent_kafka import Consumer, Message, TopicPartition
from structlog.typing import FilteringBoundLogger

from tests.attentive.scripted import OK, Connection, serving
from tests.support.brokers import MockBroker
from tests.support.odd_records import Odd, OddProducer
from worker.registry.bundled import bundled
from worker.settings.load import load
from worker.wiring import parts
from worker.wiring.worker import worker as build

TOPIC = "profile-changes"
LETTERS = "letters"
PATIENCE_SECONDS = 60.0
_PARTITIONS = 4  # what the mock gives every topic
_POLL_SECONDS = 0.01
_PAGES = ("/", "/status", "/metrics")
_REFUSED = b'HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"message": "no"}'
_LETTER = fastavro.parse_schema(bundled("dead_letter"))
_FRAME_BYTES = 5
_AT_ONCE = {"fetch.wait.max.ms": "5"}  # the mock keeps a fetch that long, also where records come meanwhile


@dataclass(frozen=True)
class Letter:
    """A dead letter as it lies in its topic."""

    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    content: dict[str, Any]


class Rig:
    """A running worker. Its consumer group has read and settled everything at the end of `settled`."""

    def __init__(self, refused: Callable[[str], bool]) -> None:
        """`refused`: whether the API refuses the user with this phone number."""
        self._refused = refused
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._lines: list[MutableMapping[str, Any]] = []
        self._end = 0
        self._address: str | None = None

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self._broker = MockBroker()
        self._stack.callback(self._broker.stop)
        for topic in (TOPIC, LETTERS):
            self._broker.create_topic(topic, _PARTITIONS)
        self._producer = enter(OddProducer(self._broker.bootstrap_servers))
        self._api = enter(serving(self._answer))
        self._reader = self._letter_reader()
        self._stack.callback(self._reader.close)
        settings = load(None, {}, self._environ(Path(enter(tempfile.TemporaryDirectory())))).settings
        self._worker = build(settings, parts.identity(settings), self._log())
        self._stack.callback(gc.set_threshold, *gc.get_threshold())
        self._stack.callback(gc.unfreeze)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._stack.callback(self._thread.join)
        self._stack.callback(self._stop.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settled(self, records: list[Odd]) -> tuple[int, list[Letter]]:
        """Writes records to partition 0, and waits until all are settled.

        Returns:
            The offset of the first one, and the dead letters that they became.
        """
        self._api.requests.clear()
        self._lines.clear()
        first, self._end = self._end, self._end + len(records)
        self._producer.write(TOPIC, records)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._committed() != self._end:
            if self._failure is not None:
                raise self._failure
            assert time.monotonic() < deadline, self._page("/status") if self._address else self._lines
            time.sleep(_POLL_SECONDS)  # a poll with a deadline
        return first, self._letters(deadline)

    def users(self) -> set[str]:
        """The users of the calls since the last `settled` began."""
        return {json.loads(request.body)["user"]["phone"] for request in self._api.requests}

    def texts(self) -> Iterable[str]:
        """What the worker tells people and programs: its pages now, and its log since the last `settled` began."""
        return [*map(self._page, _PAGES), repr(self._lines)]

    def _run(self) -> None:
        try:
            self._worker.run(self._stop.is_set)
        except BaseException as failure:  # noqa: BLE001 - raised by `settled`
            self._failure = failure

    def _answer(self, connection: Connection) -> None:
        while (request := connection.receive()) is not None:
            user = json.loads(request.body)["user"]["phone"]
            connection.send(_REFUSED if self._refused(user) else OK)

    def _environ(self, directory: Path) -> dict[str, str]:
        for number, name in ((7, "profile_changed"), (8, "dead_letter")):
            (directory / f"{number}.avsc").write_text(json.dumps(bundled(name)))
        return {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "WORKER_KAFKA__TOPICS": TOPIC,
            "WORKER_KAFKA__DEAD_LETTER_TOPIC": LETTERS,
            "WORKER_KAFKA__COMMIT_INTERVAL_SECONDS": "0.1",
            "WORKER_KAFKA__PROPERTIES": json.dumps(_AT_ONCE),
            "WORKER_SCHEMAS__DIRECTORY": str(directory),
            "WORKER_WINDOW__SECONDS": "0",
            "WORKER_ATTENTIVE__BASE_URL": self._api.base_url,
            "WORKER_ATTENTIVE__TOKEN": "token",
            "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "10000",
            "WORKER_STORM__LETTERS_MAX": "1000000",
            "WORKER_STORM__SHARE_MAX": "0.99",
            "WORKER_HTTP__HOST": "127.0.0.1",
            "WORKER_HTTP__PORT": "0",
        }

    def _log(self) -> FilteringBoundLogger:
        def keep(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
            if event["event"] == "serving":
                self._address = f"http://{event['host']}:{event['port']}"
            self._lines.append(event)
            raise structlog.DropEvent

        log: FilteringBoundLogger = structlog.wrap_logger(None, processors=[keep])
        return log

    def _page(self, path: str) -> str:
        with urllib.request.urlopen(f"{self._address}{path}", timeout=PATIENCE_SECONDS) as page:  # noqa: S310 - the worker's own server
            text: str = page.read().decode()
            return text

    def _committed(self) -> int | None:
        if self._address is None:
            return None
        held = json.loads(self._page("/status"))["partitions"]
        return next((one["committed"] for one in held if one["partition"] == 0), None)

    def _letter_reader(self) -> Consumer:
        reader = Consumer(
            {"bootstrap.servers": self._broker.bootstrap_servers, "group.id": "reader", "log_level": 2, **_AT_ONCE}
        )
        reader.assign([TopicPartition(LETTERS, number, 0) for number in range(_PARTITIONS)])
        self._read = [0] * _PARTITIONS
        return reader

    def _letters(self, deadline: float) -> list[Letter]:
        """Reads the topic of dead letters to its end."""
        parts = [TopicPartition(LETTERS, number) for number in range(_PARTITIONS)]
        ends = [self._reader.get_watermark_offsets(part, timeout=PATIENCE_SECONDS)[1] for part in parts]
        letters = []
        while self._read != ends:
            assert time.monotonic() < deadline, (self._read, ends)
            for message in self._reader.consume(100, _POLL_SECONDS):
                assert message.error() is None
                self._read[message.partition() or 0] = (message.offset() or 0) + 1
                letters.append(_letter(message))
        return letters


def _letter(message: Message) -> Letter:
    value = io.BytesIO((message.value() or b"")[_FRAME_BYTES:])
    content = cast("dict[str, Any]", fastavro.schemaless_reader(value, _LETTER, None))
    return Letter(message.key(), cast("list[tuple[str, bytes | None]]", message.headers()), content)
