"""Writer schemas from a Confluent-compatible registry, fetched by a thread of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from worker.backoff import StopRequested, full_jitter, patiently
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient, explained

_PENDING_MAX = 1_000
_CLOSE_SECONDS = 2.0
_BACKOFF = full_jitter(0.4, 10.0)
_FETCHING = "fetch a schema"


class RegistrySchemas:
    """Schemas from a registry. No caller waits: one thread fetches, another registers the schema of dead letters.

    While the registry is out, both retry for ever, with a back-off of at most about 10 seconds, and `waiting` says why.
    Two threads, because a registry that allows reads but not writes must not delay the reads.

    Args:
        url: As for `RegistryClient`; its errors too.
        properties: The same.
        dead_letter_topic: The schema of dead letters is registered as `<topic>-value`.

    Example:
        >>> schemas = RegistrySchemas("http://registry:8081", {}, "profiles.dead-letters")
        >>> schemas.request(7)
        >>> schemas.answers()  # some turns later
        [(7, {'type': 'record', 'name': 'ProfileChanged', ...})]
    """

    def __init__(self, url: str, properties: Mapping[str, Any], dead_letter_topic: str) -> None:
        self._client = RegistryClient(url, properties)
        self._subject = f"{dead_letter_topic}-value"
        self._registering = f"register {self._subject}"
        self._dead_letter_id: int | None = None
        self._asked: set[int] = set()
        self._requests: deque[int] = deque()
        self._answers: deque[tuple[int, object | None]] = deque()
        self._problems: dict[str, str] = {}  # by what failed: `_FETCHING` or `_registering`
        self._requested = Event()
        self._closed = Event()
        self._threads = [
            Thread(target=work, name=f"schema-registry-{name}", daemon=True)
            for name, work in (("fetch", self._fetch), ("register", self._register))
        ]
        for thread in self._threads:
            thread.start()

    def request(self, schema_id: int) -> None:
        """Asks for a schema. Drops the request if 1,000 wait already: the caller asks again at each turn."""
        if schema_id in self._asked or len(self._requests) >= _PENDING_MAX:
            return
        self._asked.add(schema_id)
        self._requests.append(schema_id)
        self._requested.set()

    def answers(self) -> list[tuple[int, object | None]]:
        """The answers since the last call: self-contained schemas, or None for an id that does not exist."""
        taken = []
        while self._answers:
            schema_id, schema = self._answers.popleft()
            self._asked.discard(schema_id)
            taken.append((schema_id, schema))
        return taken

    def dead_letter_schema_id(self) -> int | None:
        """The id under which the schema of dead letters is registered. None until the registry has answered."""
        return self._dead_letter_id

    def waiting(self) -> str | None:
        """Why the last request failed, and how to mend it. None while all succeed."""
        return self._problems.get(_FETCHING) or self._problems.get(self._registering)

    def close(self) -> None:
        """Stops both threads. Abandons a request that takes longer than two seconds."""
        self._closed.set()
        self._requested.set()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._client.close()

    def _fetch(self) -> None:
        while not self._closed.is_set():
            self._requested.wait()
            self._requested.clear()
            while self._requests and not self._closed.is_set():
                self._until_done(_FETCHING, self._fetch_next)

    def _register(self) -> None:
        self._until_done(self._registering, self._register_dead_letter)

    def _until_done(self, what: str, step: Callable[[], None]) -> None:
        """Retries the step until it succeeds or `close` is called."""

        def failed(error: Exception) -> None:
            self._problems[what] = f"cannot {what} at {self._client.where}: {explained(error)}"

        with suppress(StopRequested):
            patiently(
                step,
                retry_on=Exception,  # whatever the client's HTTP library raises: the thread must live on
                wait=_BACKOFF,
                stop_requested=self._closed.is_set,
                sleep=self._closed.wait,
                before_sleep=failed,
            )
            self._problems.pop(what, None)

    def _fetch_next(self) -> None:
        schema_id = self._requests[0]
        # Move it to the end first, so that an id that always fails does not block the others.
        self._requests.rotate(-1)
        schema = self._client.schema(schema_id)
        self._requests.remove(schema_id)
        self._answers.append((schema_id, schema))

    def _register_dead_letter(self) -> None:
        self._dead_letter_id = self._client.register(self._subject, bundled("dead_letter"))
