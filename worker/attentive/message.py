"""What goes to the destination and what comes back, as our own types and not those of an HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from worker.core.cheap import cheap
from worker.core.model import Failure

BODY_BYTES_MAX: Final = 64 * 1024
"""How much of an answer's body is read, unless its request wants more. A longer body is cut there, and the answer still
counts."""


@cheap
class Message:
    """A request: `Message("GET", "https://api.example.com/v1/me", (("Accept", "application/json"),))`.

    Host and Content-Length are added where it is sent. The URL may name a user in its query.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    answer_bytes_max: int = BODY_BYTES_MAX

    @property
    def private(self) -> bytes:
        """What an answer may repeat, and nobody may show: the token, identifiers and values."""
        token = (value.encode() for name, value in self.headers if name == "Authorization")
        query = unquote_plus(self.url.partition("?")[2]).encode()
        return b" ".join([*token, query, self.body])


@cheap
class Answer:
    """A complete answer; its body is cut at the request's `answer_bytes_max`.

    Header names are in lower case. The values of a repeated header are joined by a comma.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that got no complete answer, and why. `cause` holds no token, password, identifier or value."""

    failure: Failure
    cause: str


class Fenced(Exception):
    """The request was not written: this process may no longer send for the user's partition."""


class NoAnswer(Exception):
    """Why no complete answer came. The text is the `cause` of `Unanswered`, so it must hold no secret."""


class NoConnection(NoAnswer):
    """No name, no route, nobody listens, or TLS failed."""


class ProxyRefused(NoConnection):
    """The proxy opened no tunnel."""


class Late(NoAnswer):
    """The deadline passed after the connection was made."""


class LateConnection(NoAnswer):
    """The deadline passed before the connection was made."""


class Broken(NoAnswer):
    """The connection ended before the answer did."""


class NotHttp(NoAnswer):
    """The answer is not HTTP/1.1."""
