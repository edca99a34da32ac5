"""Writer schemas from a Confluent-compatible registry, fetched by a thread of its own."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from threading import Event, Thread
from typing import Any

from worker.backoff import StopRequested, full_jitter, patiently
from worker.core.model import SchemaId
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient, explained
from worker.registry.fetching import Fetching
from worker.registry.stopped import SchemasStopped

_PENDING_MAX = 1_000
_CLOSE_SECONDS = 2.0
_REPEAT_SECONDS = 5.0
"""How often a request is passed on again while it waits: an id that nobody asks for any more is given up."""
_BACKOFF = full_jitter(0.4, 10.0)
_LETTERS, _RECEIPTS = "dead_letter", "receipt"  # as the bundled schemas are called


class RegistrySchemas:
    """Schemas from a registry. No caller waits: one thread fetches, another registers the schemas of what is written.

    While the registry is out, both retry for ever, with a back-off of at most about 10 seconds, and `waiting` says why.
    Two threads, because a registry that allows reads but not writes must not delay the reads.

    Args:
        url: As for `RegistryClient`; its errors too.
        properties: The same.
        dead_letter_topic: The schema of dead letters is registered as `<topic>-value`.
        receipt_topic: That of receipts, too. None: there are none.
        unknown_id_seconds: For so long an id that does not exist is asked for again, before that is its answer.
        leave_out_tagged: As for `RegistryClient`.

    Example:
        >>> schemas = RegistrySchemas("http://registry:8081", {}, "profiles.dead-letters")
        >>> schemas.request(7)
        >>> schemas.answers()  # some turns later
        [(7, {'type': 'record', 'name': 'ProfileChanged', ...})]
    """

    def __init__(
        self,
        url: str,
        properties: Mapping[str, Any],
        dead_letter_topic: str,
        *,
        receipt_topic: str | None = None,
        unknown_id_seconds: float = 30.0,
        leave_out_tagged: bool = False,
    ) -> None:
        reader, writer = (RegistryClient(url, properties, leave_out_tagged=leave_out_tagged) for _ in range(2))
        self._writer = writer
        self._topics = {_LETTERS: dead_letter_topic} | ({} if receipt_topic is None else {_RECEIPTS: receipt_topic})
        self._own_ids: dict[str, int] = {}
        self._asked: dict[SchemaId, float] = {}  # when a request was passed on; by the caller's thread alone
        self._requests: deque[SchemaId] = deque()
        self._answers: deque[tuple[SchemaId, object | None]] = deque()
        self._fetching = Fetching(reader.schema, reader.where, unknown_id_seconds)
        self._registering_problem: str | None = None
        self._ended: str | None = None
        self._requested = Event()
        self._closed = Event()
        self._threads = [
            Thread(target=self._work, args=(name, work, client), name=f"schema-registry-{name}", daemon=True)
            for name, work, client in (("fetch", self._fetch, reader), ("register", self._register, writer))
        ]
        for thread in self._threads:
            thread.start()

    def request(self, schema_id: SchemaId) -> None:
        """Asks for a schema. Drops the request if 1,000 wait already: the caller asks again at each turn."""
        now = time.monotonic()
        if now < self._asked.get(schema_id, -math.inf) + _REPEAT_SECONDS:
            return
        if schema_id not in self._asked and len(self._asked) >= _PENDING_MAX:
            # Those that nobody repeats belong to partitions that were dropped.
            self._asked = {one: at for one, at in self._asked.items() if now < at + 2 * _REPEAT_SECONDS}
            if len(self._asked) >= _PENDING_MAX:
                return
        self._asked[schema_id] = now
        self._requests.append(schema_id)
        self._requested.set()

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """The answers since the last call: self-contained schemas, or None for an id that does not exist.

        Raises:
            SchemasStopped: A thread has ended by a fault of this program. Without it the worker would wait for ever.
        """
        if self._ended is not None:
            raise SchemasStopped(self._ended)
        taken = []
        while self._answers:
            schema_id, schema = self._answers.popleft()
            self._asked.pop(schema_id, None)
            taken.append((schema_id, schema))
        return taken

    def dead_letter_schema_id(self) -> int | None:
        """The id under which the schema of dead letters is registered. None until the registry has answered."""
        return self._own_ids.get(_LETTERS)

    def receipt_schema_id(self) -> int | None:
        """The id under which the schema of receipts is registered. None until the registry has answered."""
        return self._own_ids.get(_RECEIPTS)

    def waiting(self) -> str | None:
        """Why the last request failed, and how to mend it. None while all succeed."""
        return self._ended or self._fetching.problem or self._registering_problem

    def close(self) -> None:
        """Stops both threads. Abandons a request that takes longer than two seconds."""
        self._closed.set()
        self._requested.set()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, name: str, work: Callable[[], None], client: RegistryClient) -> None:
        """A thread's whole life. Tells if it ends before it should."""
        try:
            with closing(client):
                work()
        except BaseException as error:  # noqa: BLE001 - nothing of a thread's end may be lost
            self._ended = f"the thread that talks to the schema registry ({name}) ended: {type(error).__name__}"

    def _fetch(self) -> None:
        while not self._closed.is_set():
            self._requested.clear()
            while self._requests:
                self._fetching.want(self._requests.popleft(), time.monotonic())
            pause_seconds = self._fetching.step(self._answers.append, time.monotonic())
            # After a failure let the pause pass. Otherwise a new request ends it.
            (self._closed if self._fetching.failed else self._requested).wait(pause_seconds)

    def _register(self) -> None:
        """Registers the schemas of what the worker writes. Retries until it succeeds or `close` is called."""
        with suppress(StopRequested):
            for name, topic in self._topics.items():
                self._register_one(name, f"{topic}-value")

    def _register_one(self, name: str, subject: str) -> None:
        def failed(error: Exception) -> None:
            self._registering_problem = f"cannot register {subject} at {self._writer.where}: {explained(error)}"

        def register() -> None:
            self._own_ids[name] = self._writer.register(subject, bundled(name))

        patiently(
            register,
            retry_on=Exception,  # whatever the client's HTTP library raises: the thread must live on
            wait=_BACKOFF,
            stop_requested=self._closed.is_set,
            sleep=self._closed.wait,
            before_sleep=failed,
        )
        self._registering_problem = None
