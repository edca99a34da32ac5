"""The one file that knows httpx. It makes our bytes of a request, and our answer or failure of whatever came back.

`Transport` is also a normal httpx transport: `httpx.AsyncClient(transport=Transport(loop, ...))` works. The worker
calls it without a client: the client's redirects, cookies and hooks cost more than the exchange, and it needs none.

How a request can end without an answer, and which `Failure` that is:

    asyncio.CancelledError ....................... passed on  only `Senders.abort` and `close` cancel a request
    Fenced ....................................... aborted    this process may no longer send for its partitions
    Late, LateConnection, httpx.TimeoutException . timeout    the deadline passed
    NoConnection (ProxyRefused),
      httpx.ConnectError, ProxyError,
      UnsupportedProtocol, httpx.InvalidURL ...... connect    no name, no route, refused, TLS, the proxy
    Broken, NotHttp, LocalProtocolError,
      every other httpx.HTTPError, StreamError,
      CookieConflict ............................. broken     reset, closed early, not HTTP
    anything else ................................ passed on  it is a bug, and must be seen
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import h11
import httpx

from worker.attentive.connection import Received
from worker.attentive.dialing import Origin
from worker.attentive.http1 import RawHeaders, written
from worker.attentive.message import (
    BODY_BYTES_MAX,
    Answer,
    Broken,
    Fenced,
    Late,
    LateConnection,
    Message,
    NoAnswer,
    NoConnection,
    NotHttp,
    ProxyRefused,
    Unanswered,
)
from worker.attentive.pool import Pool
from worker.core.model import Failure

_PORTS: Final = {"http": 80, "https": 443}
_RAISED: Final[Mapping[type[NoAnswer], type[httpx.TransportError]]] = {
    NoConnection: httpx.ConnectError,
    ProxyRefused: httpx.ProxyError,
    LateConnection: httpx.ConnectTimeout,
    Late: httpx.ReadTimeout,
    Broken: httpx.ReadError,
    NotHttp: httpx.RemoteProtocolError,
}
# The first match counts.
_TREE: Final[tuple[tuple[type[Exception], Failure], ...]] = (
    (Fenced, Failure.ABORTED),
    (Late, Failure.TIMEOUT),
    (LateConnection, Failure.TIMEOUT),
    (NoConnection, Failure.CONNECT),
    (Broken, Failure.BROKEN),
    (NotHttp, Failure.BROKEN),
    (h11.LocalProtocolError, Failure.BROKEN),
    (httpx.TimeoutException, Failure.TIMEOUT),
    (httpx.ConnectError, Failure.CONNECT),
    (httpx.ProxyError, Failure.CONNECT),
    (httpx.UnsupportedProtocol, Failure.CONNECT),
    (httpx.InvalidURL, Failure.CONNECT),
    (httpx.HTTPError, Failure.BROKEN),
    (httpx.StreamError, Failure.BROKEN),
    (httpx.CookieConflict, Failure.BROKEN),
)
_NOT_HTTP: Final = "the request is no HTTP/1.1"


def endpoint(base_url: str, path: str) -> str:
    """The URL of `path` under `base_url`, which may end in a slash or not.

    Raises:
        ValueError: `base_url` is not an absolute http or https URL, or carries more than a host, a port and a path.
            (User information in it would replace the bearer token by basic authentication.) The text does not
            repeat the URL, since such a part may be a secret.
    """
    url = None
    # Raised below, outside, so that the error does not carry httpx's own text, which quotes the URL.
    with contextlib.suppress(httpx.InvalidURL, UnicodeError):
        url = httpx.URL(base_url)
    if url is None or url.scheme not in _PORTS or not url.host:
        raise ValueError("the base URL must be absolute and start with https:// (http:// to a loopback address)")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the base URL must have no user name, password, query or fragment")
    return str(url.copy_with(path=f"{url.path.rstrip('/')}/{path}"))


def origin(base_url: str) -> str:
    """The scheme, the host and, if it is given, the port of a base URL that `endpoint` accepts."""
    url = httpx.URL(base_url)
    return str(url.copy_with(path="/", query=None, fragment=None)).rstrip("/")


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over connections of our own, a deadline and a fence for each request; no redirects, cookies or retries.

    Its errors are httpx's. Their texts are written here and hold no secret.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, age_max_seconds: float, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Opens nothing.

        Args:
            loop: where its connections live.
            age_max_seconds: a connection that is older takes no further request. The next one looks the name up again.
            environ: has HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR, if they are set.
        """
        self._loop = loop
        self._pool = Pool(loop, environ, age_max_seconds=age_max_seconds)

    def prove(self, url: str) -> None:
        """Checks that the environment's proxy and authorities can be used for `url`. Connects to nothing.

        Raises:
            ValueError: they cannot be used; names the variable, without a secret.
        """
        self._pool.prove(_origin(httpx.URL(url)))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Makes one request and reads its whole answer. Cuts a body that is longer than `BODY_BYTES_MAX`.

        `request.extensions` may hold `deadline`, by the loop's clock, and `may_send`, asked right before the request is
        written.

        Raises:
            httpx.TransportError: no complete answer came; says why.
            Fenced: `may_send` returned False.
            ValueError: the environment's proxy or authorities cannot be used.
        """
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol("only http and https are spoken", request=request)
        try:
            method = request.method.encode("ascii")
            received = await self._pool.begin(
                _origin(url),
                method,
                written(method, url.raw_path, _without_length(request.headers.raw), request.content),
                deadline=request.extensions.get("deadline"),
                may_send=request.extensions.get("may_send", _always),
                answer_bytes_max=BODY_BYTES_MAX,
            )
        except NoAnswer as error:
            raise _RAISED[type(error)](str(error), request=request) from None
        except h11.LocalProtocolError:
            raise httpx.LocalProtocolError(_NOT_HTTP, request=request) from None
        return httpx.Response(
            received.status,
            headers=list(received.headers),
            stream=_Body(received),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    def begin(
        self, message: Message, *, deadline: float | None, may_send: Callable[[], bool]
    ) -> asyncio.Future[Received]:
        """Begins a request, and writes it at once if a connection is idle. `outcome` says what came of it.

        Args:
            message: the request.
            deadline: when the request must end, by the loop's clock.
            may_send: asked right before anything is written.
        """
        try:
            where, target, headers = _prepared(message.method, message.url, message.headers)
            method = message.method.encode("ascii")
            content = written(method, target, headers, message.body)
        except (httpx.HTTPError, httpx.InvalidURL, h11.LocalProtocolError) as error:
            unwritten: asyncio.Future[Received] = self._loop.create_future()
            unwritten.set_exception(error)
            return unwritten
        return self._pool.begin(
            where,
            method,
            content,
            deadline=deadline,
            may_send=may_send,
            answer_bytes_max=message.answer_bytes_max,
        )

    async def exchange(
        self, message: Message, *, deadline: float | None, may_send: Callable[[], bool]
    ) -> Answer | Unanswered:
        """Makes a request, as `begin`.

        Raises:
            Exception: as `outcome`.
        """
        begun = self.begin(message, deadline=deadline, may_send=may_send)
        with contextlib.suppress(Exception):  # `outcome` knows them
            await begun
        return outcome(begun)


def outcome(ended: asyncio.Future[Received]) -> Answer | Unanswered:
    """What came of a request that `Transport.begin` has begun, and that was not cancelled.

    Raises:
        ValueError: the environment's proxy or authorities cannot be used.
        Exception: a bug.
    """
    error = ended.exception()
    if error is None:
        received = ended.result()
        return Answer(received.status, _joined(received.headers), bytes(received.body))
    failure = failure_of(error)
    if failure is None:
        raise error
    return Unanswered(failure, _NOT_HTTP if isinstance(error, h11.LocalProtocolError) else str(error))


def failure_of(error: BaseException) -> Failure | None:
    """The failure that `error` means, or None for an exception that no request should raise."""
    return next((failure for kind, failure in _TREE if isinstance(error, kind)), None)


class _Body(httpx.AsyncByteStream):
    """A body that was read already."""

    def __init__(self, received: Received) -> None:
        self.content = bytes(received.body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


def _origin(url: httpx.URL) -> Origin:
    return Origin(url.scheme == "https", url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])


@functools.lru_cache(maxsize=8)
def _prepared(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[Origin, bytes, RawHeaders]:
    """Where a request goes, its target, and its headers with Host."""
    request = httpx.Request(method, url, headers=headers)
    if request.url.scheme not in _PORTS:
        raise httpx.UnsupportedProtocol("only http and https are spoken", request=request)
    return _origin(request.url), request.url.raw_path, _without_length(request.headers.raw)


def _without_length(headers: RawHeaders) -> RawHeaders:
    return tuple((name, value) for name, value in headers if name.lower() != b"content-length")


def _joined(headers: RawHeaders) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _always() -> bool:
    return True
