"""What goes to the destination and what comes back, as our own types and not those of an HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.core.model import Failure

BODY_BYTES_MAX: Final = 64 * 1024
"""How much of an answer's body is read. A longer body is cut there, and the answer still counts."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request: `Message("GET", "https://api.example.com/v1/me", (("Accept", "application/json"),))`.

    Host and Content-Length are added where it is sent.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def private(self) -> bytes:
        """What an answer may repeat, and nobody may show: the token, identifiers and values."""
        return b" ".join([*(value.encode() for name, value in self.headers if name == "Authorization"), self.body])


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; its body is cut at `BODY_BYTES_MAX`.

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
