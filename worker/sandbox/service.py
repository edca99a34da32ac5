"""Decides every answer of the sandbox, by path, token, rate limit, faults, then the account. No I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qs

from worker.sandbox.account import Account
from worker.sandbox.faults import Fault, FaultPlan, Subject
from worker.sandbox.meter import Exchange, Meter, RateLimit
from worker.sandbox.upsert import Identifier, Number, RefusedError, Upsert, read_identifier, read_upsert

ATTRIBUTES_PATH = "/v1/attributes/custom"
ME_PATH = "/v1/me"
METHODS = {ATTRIBUTES_PATH: ("GET", "POST"), ME_PATH: ("GET",)}
BODY_BYTES_MAX = 1024 * 1024
DEFAULT_LIMIT = 150

_JSON = {"content-type": "application/json"}
_ME = {
    "applicationName": "Sandbox",
    "attentiveDomainName": "sandbox",
    "companyName": "Sandbox",
    "contactEmail": "sandbox@example.com",
    "companyId": "1",
}


Wanted: TypeAlias = Upsert | Identifier | RefusedError | None
"""What a request wants: an upsert, a user's attributes, or (None) the token's owner. RefusedError: it is malformed."""


class Key(StrEnum):
    """What a read answer calls an attribute's name. The documentation shows one, and requires the other."""

    NAME = "name"
    ATTRIBUTE = "attribute"


class Errors(StrEnum):
    """What the body of a 400 says."""

    NAMED = "named"  # which attribute is wrong, and why
    ECHO = "echo"  # the same, and its value
    VAGUE = "vague"  # only that something is wrong
    EMPTY = "empty"  # nothing: no body


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox behaves.

    `limit` is in requests per second, for each token and endpoint; 0 means no limit. `enumerations` are the attributes
    created in the UI, with their allowed values. Without `reads`, `GET /v1/attributes/custom` gets 401, as Attentive
    answers if reading is not configured. `read_key` is how it calls an attribute's name. `record` keeps the received
    requests.
    """

    tokens: tuple[str, ...] = field(repr=False)
    limit: int = DEFAULT_LIMIT
    errors: Errors = Errors.NAMED
    enumerations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    reads: bool = True
    read_key: Key = Key.NAME
    record: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A received request. `body` is None if it was longer than `BODY_BYTES_MAX`."""

    method: str
    path: str
    query: str = field(default="", repr=False)
    authorization: str = field(default="", repr=False)
    content_type: str = ""
    body: bytes | None = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


_UNSENT = Answer(503)  # a placeholder: a drop fault closes the connection instead


class Service:
    """The state of one sandbox, and its answers. Every `now` is in epoch seconds."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._errors = 0
        self.meter = Meter(record=settings.record)
        self.reset(now)

    def reset(self, now: float) -> None:
        """Resets to the state after the start: the settings' tokens and faults, no users, no types, no counts."""
        self.tokens = frozenset(self._settings.tokens)
        self.account = Account(self._settings.enumerations)
        self.meter.reset(now)
        self.plan = FaultPlan(self._settings.faults, now)
        self._limit = RateLimit(self._settings.limit)

    def stats(self) -> dict[str, object]:
        """All counts."""
        account = self.account
        return self.meter.stats() | {
            "upserts": account.upserts,
            "users": account.user_count,
            "attributes": account.attribute_count,
        }

    def answer(self, exchange: Exchange, request: Request, now: float) -> tuple[Answer, Fault | None]:
        """Applies the request. Returns the answer, and the fault to carry out while sending it, if any."""
        self.meter.read(now)
        methods = METHODS.get(request.path)
        if methods is None:
            message = f"No static resource {request.path.removeprefix('/')}."
            return self._spring_error(404, request.path, message, now), None
        if request.method not in methods:
            message = f"Request method '{request.method}' is not supported."
            answer = self._spring_error(405, request.path, message, now)
            return _with(answer, {"allow": ", ".join(methods)}), None
        scheme, _, token = request.authorization.partition(" ")
        if scheme.lower() != "bearer" or token not in self.tokens:
            return Answer(401), None
        headers = {}
        if self._limit.per_second:
            remaining = self._limit.take(token, f"{request.method} {request.path}", now)
            headers = {
                "x-ratelimit-limit": str(self._limit.per_second),
                "x-ratelimit-remaining": str(max(remaining, 0)),
            }
            if remaining < 0:
                self.meter.throttled()
                return _with(self._error(429, "Too many requests"), headers), None
        answer, fault = self._admitted(exchange, request, now)
        return _with(answer, headers), fault

    def _admitted(self, exchange: Exchange, request: Request, now: float) -> tuple[Answer, Fault | None]:
        if request.method == "POST" and request.body is None:
            return self._spring_error(413, request.path, f"The body is over {BODY_BYTES_MAX} bytes.", now), None
        if request.method == "POST" and not request.content_type.lower().startswith("application/json"):
            return self._spring_error(415, request.path, "Content-Type must be application/json.", now), None
        wanted = _read(request)
        if isinstance(wanted, Upsert):
            self.meter.named(exchange, wanted)
        fault = self.plan.choose(_subject(request, wanted), now)
        if fault is not None and fault.drop == "before":
            return _UNSENT, fault
        if fault is not None and fault.status is not None and not fault.apply:
            return self._scripted(fault, fault.status), fault
        answer = self._apply(exchange, wanted)
        if fault is not None and fault.status is not None and answer.status == HTTPStatus.OK:
            answer = self._scripted(fault, fault.status)
        return answer, fault

    def _apply(self, exchange: Exchange, wanted: Wanted) -> Answer:
        if wanted is None:
            return Answer(200, json.dumps(_ME).encode(), _JSON)
        if exchange.method == "GET" and not self._settings.reads:
            return Answer(401)
        if isinstance(wanted, RefusedError):
            return self._refused(wanted)
        if isinstance(wanted, Identifier):
            held = [{self._settings.read_key.value: name, "value": text} for name, text in self.account.read(wanted)]
            return Answer(200, json.dumps(held).encode(), _JSON)
        try:
            self.account.apply(wanted)
        except RefusedError as error:
            return self._refused(error)
        exchange.applied = True
        # Attentive's documentation shows no body for a successful call.
        return Answer(200)

    def _scripted(self, fault: Fault, status: int) -> Answer:
        if fault.body is not None:
            content = _JSON if fault.body.startswith(("{", "[")) else {"content-type": "text/plain"}
            return Answer(status, fault.body.encode(), {**content, **fault.headers})
        if status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.UNAUTHORIZED:
            return Answer(status, b"", fault.headers)
        return _with(self._error(status, phrase(status)), fault.headers)

    def _refused(self, error: RefusedError) -> Answer:
        mode = self._settings.errors
        if mode is Errors.EMPTY:
            return Answer(400)
        if mode is Errors.VAGUE:
            return self._error(400, "Invalid parameter in request query or body")
        message = str(error)
        if mode is Errors.ECHO and error.attribute is not None:
            message += f" (value: {json.dumps(error.value, default=_number_text)})"
        return self._error(400, message)

    def _next_error(self) -> int:
        self._errors += 1
        return self._errors

    def _error(self, status: int, message: str) -> Answer:
        """The error body that Attentive's sibling endpoints document."""
        document = {"error": {"id": self._next_error(), "message": message}}
        return Answer(status, json.dumps(document).encode(), _JSON)

    def _spring_error(self, status: int, path: str, message: str, now: float) -> Answer:
        """The error body of the web framework (Spring), as the real API was seen to send it for an unknown path."""
        document = {
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "path": path,
            "status": status,
            "error": phrase(status),
            "requestId": f"{self._next_error():08x}",
            "message": message,
        }
        return Answer(status, json.dumps(document).encode(), _JSON)


def _read(request: Request) -> Wanted:
    if request.path == ME_PATH:
        return None
    try:
        return _read_query(request.query) if request.method == "GET" else read_upsert(request.body or b"")
    except RefusedError as error:
        return error


def _read_query(query: str) -> Identifier:
    """The user that a GET names. A literal + in a query means a space, so an unescaped phone is refused."""
    given = parse_qs(query, keep_blank_values=True)
    named = [(kind, value) for kind in ("phone", "email") for value in given.get(kind, [])]
    if len(named) != 1:
        raise RefusedError("Exactly one of the query parameters phone and email is required")
    return read_identifier(*named[0])


def _subject(request: Request, wanted: Wanted) -> Subject:
    if isinstance(wanted, Upsert):
        identifiers = frozenset(identifier.value for identifier in wanted.identifiers)
        return Subject(request.method, request.path, identifiers, frozenset(wanted.properties))
    if isinstance(wanted, Identifier):
        return Subject(request.method, request.path, frozenset((wanted.value,)))
    return Subject(request.method, request.path)


def _with(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """The answer with more headers. Those that it already has win."""
    return Answer(answer.status, answer.body, {**headers, **answer.headers}) if headers else answer


def _number_text(value: object) -> str:
    return value.text if isinstance(value, Number) else str(value)


def phrase(status: int) -> str:
    """The reason phrase of a status. An unregistered one gets `Status <number>`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
