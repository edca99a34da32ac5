"""Writer schemas from a Confluent-compatible registry, fetched in a thread of their own."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import load_schema

from worker.backoff import full_jitter
from worker.core.avro.schema import full_name
from worker.registry.bundled import bundled

_PENDING_MAX = 1_000
_SCHEMA_NOT_FOUND = 40403
_TIMEOUT_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_NUMBERS = frozenset({"timeout", "cache.capacity", "cache.latest.ttl.sec", "retries.wait.ms", "retries.max.wait.ms"})
_ROOT = "$root"
_BACKOFF = full_jitter(0.4, 10.0)

_HINTS = {
    301: "it redirects, and redirects are not followed: set the registry URL to the final address",
    401: "it wants other credentials: check basic.auth.user.info or bearer.auth.token in the registry properties",
    403: "these credentials may not do that: grant read on schemas, and write on the dead letters' subject",
    404: "no registry answers at that path: check the registry URL, its path included",
    409: "the subject holds an incompatible schema: delete the subject, or name another dead-letter topic",
    422: "it refuses the schema: check the subject's settings",
}


class RegistrySchemas:
    """Schemas by a registry. One thread asks, so that no caller waits; while the registry is out it asks on, for ever.

    Only the registry's own word that an id does not exist counts as that (HTTP 404 with error code 40403). Everything
    else, a 404 by a wrong URL too, is waited out with a back-off of at most about 10 seconds, and told by `waiting`.

    Args:
        url: The registry's address, or several separated by commas.
        properties: Passed to confluent-kafka's registry client: TLS, basic and bearer authentication, `timeout` in
            seconds (10 by default) … Numbers may be given as text. `max.retries` has no effect.
        dead_letter_topic: The schema of dead letters is registered as `<topic>-value`.

    Raises:
        ValueError: The client refuses the properties; says why.
    """

    def __init__(self, url: str, properties: Mapping[str, Any], dead_letter_topic: str) -> None:
        self._client = connect(url, properties)
        self._where = _shown(url)
        self._subject = f"{dead_letter_topic}-value"
        self._dead_letter_id: int | None = None
        self._asked: set[int] = set()
        self._requests: deque[int] = deque()
        self._answers: deque[tuple[int, object | None]] = deque()
        # A registry that lets us read but not write must not hold up reading: each has its own back-off.
        self._reads = _Lane(self._fetch_next)
        self._writes = _Lane(self._register_dead_letter)
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="schema-registry", daemon=True)
        self._thread.start()

    def request(self, schema_id: int) -> None:
        """Ask for a schema. Past 1,000 that wait it is forgotten: ask again with the next record."""
        if schema_id in self._asked or len(self._requests) >= _PENDING_MAX:
            return
        self._asked.add(schema_id)
        self._requests.append(schema_id)
        self._wake.set()

    def answers(self) -> list[tuple[int, object | None]]:
        """What came in since the last call: self-contained schemas, None for an id that does not exist."""
        taken = []
        while self._answers:
            schema_id, schema = self._answers.popleft()
            self._asked.discard(schema_id)
            taken.append((schema_id, schema))
        return taken

    def dead_letter_schema_id(self) -> int | None:
        """The id under which the schema of dead letters is registered; None until the registry has answered."""
        return self._dead_letter_id

    def waiting(self) -> str | None:
        """What the last failed request said, and how to mend it; None while all succeed."""
        return self._reads.trouble or self._writes.trouble

    def close(self) -> None:
        """Stop asking. A request on its way is abandoned after two seconds."""
        self._closing = True
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while not self._closing:
            self._wake.clear()
            due = []
            if self._requests:
                due.append(self._attempt(self._reads, "fetch a schema"))
            if self._dead_letter_id is None:
                due.append(self._attempt(self._writes, f"register {self._subject}"))
            self._wake.wait(max(0.0, min(due) - time.monotonic()) if due else None)
        self._client.close()

    def _attempt(self, lane: _Lane, what: str) -> float:
        """Take the lane's next step if it is due; return when the step after it is."""
        if time.monotonic() < lane.due:
            return lane.due
        try:
            lane.step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread lives on and says so
            lane.failed(f"cannot {what} at {self._where}: {explained(error)}")
        else:
            lane.succeeded()
        return lane.due

    def _fetch_next(self) -> None:
        schema_id = self._requests[0]
        # To the end before the attempt: an id that always fails must not stand before the others.
        self._requests.rotate(-1)
        try:
            schema: object | None = assembled(self._client, self._client.get_schema(schema_id))
        except SchemaRegistryError as error:
            if error.error_code != _SCHEMA_NOT_FOUND:
                raise
            schema = None
        self._requests.remove(schema_id)
        self._answers.append((schema_id, schema))

    def _register_dead_letter(self) -> None:
        schema = Schema(json.dumps(bundled("dead_letter")), "AVRO")
        self._dead_letter_id = self._client.register_schema(self._subject, schema)


class _Lane:
    """One kind of request: when its next attempt is due, and what went wrong with the last."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step
        self.due = 0.0
        self.trouble: str | None = None
        self._failures = 0

    def failed(self, trouble: str) -> None:
        self.trouble = trouble
        self._failures += 1
        self.due = time.monotonic() + _BACKOFF(self._failures)

    def succeeded(self) -> None:
        self.trouble = None
        self.due = 0.0
        self._failures = 0


def connect(url: str, properties: Mapping[str, Any]) -> SchemaRegistryClient:
    """A client that neither retries nor has asked anything yet; arguments and errors as of `RegistrySchemas`."""
    numbers = {name: _number(name, properties[name]) for name in _NUMBERS & properties.keys()}
    # The client's own retries would hold up other ids, and the news of an outage.
    settings = {"timeout": _TIMEOUT_SECONDS, **properties, **numbers, "url": url, "max.retries": 0}
    try:
        return SchemaRegistryClient(settings)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"the schema registry's settings: {_without_credentials(str(error), url)}") from None


def assembled(client: SchemaRegistryClient, schema: Schema) -> object:
    """The schema as `json.loads` gives it, with the types of other subjects that it refers to put inside."""
    text = schema.schema_str or ""
    if schema.schema_type not in {None, "AVRO"}:
        return {"type": schema.schema_type}  # the decoder says that there is no such Avro type
    try:
        root: object = json.loads(text)
    except json.JSONDecodeError:
        return text[:100]  # likewise
    if not schema.references:
        return root
    named: dict[str, object] = {_ROOT: root}
    _collect(client, schema, named)
    return load_schema(_ROOT, repo=_Named(named))


def _collect(client: SchemaRegistryClient, schema: Schema, named: dict[str, object]) -> None:
    for reference in schema.references or ():
        name, subject, version = reference.name, reference.subject, reference.version
        if name is None or subject is None or version is None:
            raise TypeError("a reference without a name, subject or version")
        if name not in named:
            referenced = client.get_version(subject, version, deleted=True).schema
            definition = json.loads(referenced.schema_str or "")
            # By its own name too: a registry lets a reference be called anything, a file's name for example.
            named[name] = named[full_name(definition)] = definition
            _collect(client, referenced, named)


class _Named(AbstractSchemaRepository):
    """Referenced schemas by name, as fastavro asks for them."""

    def __init__(self, named: Mapping[str, object]) -> None:
        self._named = named

    def load(self, name: str) -> object:
        try:
            return self._named[name]
        except KeyError:
            raise SchemaRepositoryError(f"no reference is called {name}") from None


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise ValueError(f"the schema registry's settings: {name}: {value!r} is not a number") from None


def explained(error: Exception) -> str:
    """What went wrong, without the text of an error: it may hold an answer's body, or the URL and its credentials."""
    if isinstance(error, SchemaRegistryError):
        status = int(error.http_status_code)
        code = f", error code {error.error_code}" if (error.error_code or -1) > 0 else ""
        hint = _HINTS.get(301 if 300 <= status < 400 else status)  # noqa: PLR2004 - HTTP's redirects
        return f"HTTP {status}{code}" + (f"; {hint}" if hint else "")
    if isinstance(error, json.JSONDecodeError | KeyError | AttributeError | TypeError):
        return (
            f"the answer is not a schema registry's ({type(error).__name__}); check the registry URL, its path included"
        )
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            causes.append(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__ + (f": {causes[-1]}" if causes else "")


def _shown(url: str) -> str:
    """Hosts, ports and paths alone."""
    return ", ".join(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        for parts in (urlsplit(one.strip()) for one in url.split(","))
    )


def _without_credentials(text: str, url: str) -> str:
    for one in url.split(","):
        text = text.replace(one.strip().rstrip("/"), _shown(one))
    return text
