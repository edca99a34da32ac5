"""The words of the domain, shared by the core and everything around it.

Nothing here prints an identifier or a value: `repr` leaves out every field that could hold one, so no log line,
assertion or traceback can leak it.

Nothing here is ever changed once it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from sys import getsizeof
from typing import Final, NamedTuple, Self, TypeAlias

from worker.core.cheap import cheap, cheap_by_identity

Scalar: TypeAlias = bool | int | float | str | Decimal | None
"""An attribute's value as the destination takes it. Dates and timestamps are already strings."""

USER_BYTES = 60
"""The size of a user in memory, without its identifiers."""

CUSTOM_BYTES = 70
"""The size of a custom identifier's pair in memory, without its strings."""

HEADER_BYTES = 150
"""The size of a header in memory, without its content."""

SchemaId: TypeAlias = int | str
"""What a registry calls a schema: its number, or its GUID in small letters."""

SCHEMA_ID_MAX = 2**31 - 1
"""A registry's ids are signed 32-bit integers. Asked for a larger one, some registries answer like for a wrong path."""

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]


def headers_bytes(headers: Headers) -> int:
    """What headers take in memory, in bytes. A record may have thousands of small ones."""
    return sum(HEADER_BYTES + len(name) + len(value or b"") for name, value in headers)


class Now(NamedTuple):
    """An instant, by both clocks: `mono` in monotonic seconds, `wall_ms` in milliseconds since the epoch.

    Everything that waits or expires goes by `mono`. `wall_ms` is only shown and written down.
    """

    mono: float
    wall_ms: int


class Partition(NamedTuple):
    """A topic's partition."""

    topic: str
    number: int


@cheap
class Record:
    """One record as it lies in Kafka. `value` is None for a tombstone."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(default=(), repr=False)

    @property
    def size_bytes(self) -> int:
        """Its key, its value and its headers in bytes."""
        headers = headers_bytes(self.headers) if self.headers else 0
        return len(self.key or b"") + len(self.value or b"") + headers


@cheap
class User:
    """The identifiers in an event. An absent one is None. `custom` is (name, value) pairs."""

    phone: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    client_user_id: str | None = field(default=None, repr=False)
    custom: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def custom_bytes(self) -> int:
        """What the custom identifiers take in memory, in bytes. A record may have thousands of them."""
        return sum(CUSTOM_BYTES + getsizeof(name) + getsizeof(value) for name, value in self.custom)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return USER_BYTES + self.custom_bytes + sum(map(getsizeof, (self.phone, self.email, self.client_user_id)))


class UserKey(bytes):
    """The one identifier by which changes of a user are coalesced and ordered.

    `kind` is phone, email, client_user_id or custom; `name` is a custom identifier's name, else empty.
    Only the key has an email's domain in lower case, whatever the rules: the identifier itself is sent as they say.

    Each waiting user has one, so it is small, and fast to look up: bytes that begin with the kind.
    """

    __slots__ = ()

    def __new__(cls, kind: str, name: str, value: str) -> Self:  # noqa: D102 - as the class says
        text = f"{len(name)}:{name}{value}" if kind == "custom" else value
        return bytes.__new__(cls, KEY_PREFIXES[kind] + text.encode("utf-8", "surrogatepass"))

    @property
    def kind(self) -> str:  # noqa: D102 - as the class says
        return _KINDS[self[0]]

    @property
    def name(self) -> str:  # noqa: D102 - as the class says
        return self._named[0]

    @property
    def value(self) -> str:  # noqa: D102 - as the class says
        return self._named[1]

    @property
    def user(self) -> User:
        """The user with this identifier alone."""
        kind = self[0]
        if kind == _CUSTOM:
            return User(custom=(self._named,))
        value = self[1:].decode("utf-8", "surrogatepass")
        return User(value) if kind == _PHONE else User(None, value) if kind == _EMAIL else User(None, None, value)

    @property
    def _named(self) -> tuple[str, str]:
        text = self[1:].decode("utf-8", "surrogatepass")
        if self.kind != "custom":
            return "", text
        size, _, text = text.partition(":")
        return text[: int(size)], text[int(size) :]

    def __repr__(self) -> str:
        return f"UserKey({self.kind})"

    __str__ = __repr__


KEY_PREFIXES: Final = {"phone": b"p", "email": b"e", "client_user_id": b"c", "custom": b"n"}
_KINDS: Final = {prefix[0]: kind for kind, prefix in KEY_PREFIXES.items()}
_PHONE, _EMAIL, _, _CUSTOM = _KINDS


class Unusable(NamedTuple):
    """A field that should hold an identifier of a kind, and holds none. `fault` says what instead."""

    kind: str
    fault: str


@cheap
class Event:
    """A decoded record, before any rule is applied. Attribute values are whatever Avro gave.

    `unusable` has the identifiers that are neither text nor a whole number, `kept_back` the names of attributes whose
    values look like an identifier.
    """

    user: User
    attributes: Mapping[str, object] = field(repr=False)
    occurred_at_ms: int | None = None
    event_id: str | None = field(default=None, repr=False)
    unusable: tuple[Unusable, ...] = ()
    kept_back: tuple[str, ...] = ()


class Reason(StrEnum):
    """Why a dead letter was written.

    Two are no failures: `BEGUN` says that a call may be made for the open letter with the same id, `RESOLVED` ends it.
    """

    UNDECODABLE = "undecodable"
    NO_IDENTITY = "no_identity"
    INVALID_IDENTITY = "invalid_identity"
    INVALID_ATTRIBUTE_NAME = "invalid_attribute_name"
    UNSUPPORTED_VALUE = "unsupported_value"
    SENSITIVE_DATA = "sensitive_data"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    SERVER_ERROR = "server_error"
    UNEXPECTED_STATUS = "unexpected_status"
    BEGUN = "begun"
    RESOLVED = "resolved"


LOSSES: Final = tuple(reason for reason in Reason if reason not in {Reason.BEGUN, Reason.RESOLVED})
"""The reasons for which something was not delivered."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Attributes that preflight refuses, before any call, for one reason.

    `detail` is for people. It may contain attribute names, but never an identifier or a value.
    `attributes` has the values as Avro gave them, except that a denied attribute's value is None.
    """

    reason: Reason
    detail: str
    attributes: Mapping[str, object] = field(repr=False)


@cheap
class Checked:
    """An event after preflight. `key` is None if the event has no valid identifier; then `accepted` is empty.

    `sent` has the identifiers to send; None: the key's alone. `passed_over` counts the attributes left out by a rule
    (nulls dropped, names not on the allow-list), `dropped_identifiers` the invalid identifiers that name nobody.
    """

    key: UserKey | None
    sent: User | None
    accepted: Mapping[str, Scalar] = field(repr=False)
    refusals: tuple[Refusal, ...] = ()
    passed_over: int = 0
    dropped_identifiers: int = 0

    @property
    def user(self) -> User:
        """The identifiers to send."""
        if self.sent is not None:
            return self.sent
        return User() if self.key is None else self.key.user


@cheap
class Source:
    """Where a change came from."""

    partition: Partition
    offset: int
    timestamp_ms: int
    event_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LostAttribute:
    """An attribute in a dead letter. `value` is as Avro gave it: preflight may have refused its type."""

    name: str
    value: object = field(repr=False)
    occurred_at_ms: int | None
    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a reply that goes into a dead letter."""

    status: int
    request_id: str | None = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Which process this is, among all replicas and restarts."""

    version: str
    instance: str
    group_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A dead letter, to write or read back. Letters compare by identity, because each settles its own owner.

    `record_key` is the source record's key. The letter gets the same key. Only an `undecodable` letter has a
    `record_value`. `id`, `cut` (the fields that were cut to fit) and `worker` (who wrote it) are known once it is
    written. Only a `resolved` letter has its `id` before: that of the letter which it ends.
    """

    reason: Reason
    detail: str
    failed_at_ms: int
    attempts: int
    sources: tuple[Source, ...]
    user: User | None
    attributes: tuple[LostAttribute, ...]
    answer: Answer | None = None
    record_key: bytes | None = field(default=None, repr=False)
    record_value: bytes | None = field(default=None, repr=False)
    headers: Headers = field(default=(), repr=False)
    id: str = ""
    cut: tuple[str, ...] = ()
    worker: WorkerIdentity | None = None


@cheap_by_identity
class Call:
    """One request to make: the user's identifiers and the attributes to set.

    `timeout_seconds` bounds the whole request. `probe` marks the one call that a closed gate lets through at a time.
    """

    number: int
    user: User
    properties: Mapping[str, Scalar] = field(repr=False)
    timeout_seconds: float
    probe: bool = False


class Failure(StrEnum):
    """Why a request brought no reply."""

    CONNECT = "connect"  # refused, unreachable, name not found, TLS failed, the proxy said no
    TIMEOUT = "timeout"  # the whole-request deadline passed
    BROKEN = "broken"  # reset, closed before the answer was complete, not HTTP
    ABORTED = "aborted"  # cut short by this worker: its partition went away
    NO_TOKEN = "no_token"  # noqa: S105 - a reason, not a secret: the token file is missing or empty


@cheap
class Reply:
    """What came back for a call: a status, or a failure (then `status` is None).

    `body` is text of at most 64 KiB, of a lookup 1 MiB; `message` is the human part of an error body, if one was found;
    `retry_after_seconds`, `rate_limit` and `rate_remaining` repeat the headers of that meaning.
    `no_such_path`: a 404 that says so of the path; `web_page`: the answer is for a browser, so it is not the API's.
    `cause` tells people what kind of failure it was, or where a redirect points; without a secret, and no decision goes
    by it.
    """

    status: int | None
    failure: Failure | None = None
    retry_after_seconds: float | None = None
    rate_limit: int | None = None
    rate_remaining: int | None = None
    request_id: str | None = field(default=None, repr=False)
    message: str = field(default="", repr=False)
    body: str = field(default="", repr=False)
    no_such_path: bool = False
    web_page: bool = False
    seconds: float = 0.0
    cause: str = ""
