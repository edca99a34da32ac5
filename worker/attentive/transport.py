"""The one file that knows httpx. It converts between httpx's requests, answers and errors and our messages.

`Transport` is a normal httpx transport: `httpx.AsyncClient(transport=Transport(...))` works. The worker calls it
without a client: the client's redirects, cookies and hooks cost more than the exchange, and the worker needs none.

How a request can end without an answer, and which `Failure` that is:

    asyncio.CancelledError ....................... passed on  only `Senders.abort` and `close` cancel a request
    Fenced ....................................... aborted    this process may no longer send for its partitions
    httpx.TimeoutException ....................... timeout    the deadline passed
    httpx.ConnectError, ProxyError,
      UnsupportedProtocol, httpx.InvalidURL ...... connect    no name, no route, refused, TLS, the proxy
    every other httpx.HTTPError, StreamError,
      CookieConflict ............................. broken     reset, closed early, not HTTP
    anything else ................................ passed on  it is a bug, and must be seen
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import h11
import httpx

from worker.attentive.connection import Received
from worker.attentive.dialing import Origin
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
    (httpx.TimeoutException, Failure.TIMEOUT),
    (httpx.ConnectError, Failure.CONNECT),
    (httpx.ProxyError, Failure.CONNECT),
    (httpx.UnsupportedProtocol, Failure.CONNECT),
    (httpx.InvalidURL, Failure.CONNECT),
    (httpx.HTTPError, Failure.BROKEN),
    (httpx.StreamError, Failure.BROKEN),
    (httpx.CookieConflict, Failure.BROKEN),
)
_parsed = functools.lru_cache(maxsize=8)(httpx.URL)


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

    def __init__(self, *, age_max_seconds: float, environ: Mapping[str, str] = os.environ) -> None:
        """Opens nothing. Belongs to the loop in which its first request is made.

        Args:
            age_max_seconds: a connection that is older takes no further request. The next one looks the name up again.
            environ: has HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR, if they are set.
        """
        self._pool = Pool(environ, age_max_seconds=age_max_seconds)

    def prove(self, url: str) -> None:
        """Checks that the environment's proxy and authorities can be used for `url`. Connects to nothing.

        Raises:
            ValueError: they cannot be used; names the variable, without a secret.
        """
        self._pool.prove(_origin(_parsed(url)))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Makes one request and reads its whole answer. Cuts a body that is longer than `BODY_BYTES_MAX`.

        `request.extensions` may hold `deadline`, by the running loop's clock, `may_send`, asked right before the
        request is written, and `answer_bytes_max` in the place of `BODY_BYTES_MAX`.

        Raises:
            httpx.TransportError: no complete answer came; says why.
            Fenced: `may_send` returned False.
            ValueError: the environment's proxy or authorities cannot be used.
        """
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol("only http and https are spoken", request=request)
        try:
            received = await self._pool.exchange(
                _origin(url),
                request.method.encode("ascii"),
                url.raw_path,
                request.headers.raw,
                request.content,
                deadline=request.extensions.get("deadline"),
                may_send=request.extensions.get("may_send", _always),
                answer_bytes_max=request.extensions.get("answer_bytes_max", BODY_BYTES_MAX),
            )
        except NoAnswer as error:
            raise _RAISED[type(error)](str(error), request=request) from None
        except h11.LocalProtocolError:
            raise httpx.LocalProtocolError("the request is no HTTP/1.1", request=request) from None
        return httpx.Response(
            received.status,
            headers=list(received.headers),
            stream=_Body(received),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    async def exchange(
        self, message: Message, *, deadline: float | None, may_send: Callable[[], bool]
    ) -> Answer | Unanswered:
        """`handle_async_request` with our own types.

        Args:
            message: the request.
            deadline: when the request must end, by the running loop's clock.
            may_send: asked right before anything is written.

        Raises:
            ValueError: as `handle_async_request`.
            Exception: a bug.
        """
        try:
            request = httpx.Request(
                message.method,
                _parsed(message.url),
                headers=message.headers,
                content=message.body or None,
                extensions={
                    "deadline": deadline,
                    "may_send": may_send,
                    "answer_bytes_max": message.answer_bytes_max,
                },
            )
            response = await self.handle_async_request(request)
        except (Fenced, httpx.HTTPError, httpx.InvalidURL) as error:
            failure, cause = failure_of(error), str(error)
            if failure is None:
                raise
            return Unanswered(failure, cause)
        return _answer(response)


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


def _answer(response: httpx.Response) -> Answer:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    stream = response.stream
    return Answer(response.status_code, headers, stream.content if isinstance(stream, _Body) else response.content)


def _always() -> bool:
    return True
