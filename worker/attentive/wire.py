"""One request over one connection, with a deadline that nothing the other side does can outlive."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from worker.attentive.replies import BODY_BYTES_MAX, Fenced, failure_of, reply_of
from worker.core.model import Reply

KEEPALIVE_SECONDS = 4.0
"""How long an idle connection may be used again. Shorter than the idle time-out of any server or load balancer in use
(the shortest, 5 seconds, is uvicorn's), so that a request seldom meets a connection that is just being closed. The one
that does comes back as `broken`, and the engine sends it again."""


_WRITES = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})


def tls_context() -> ssl.SSLContext:
    """The trust of every connection: SSL_CERT_FILE or SSL_CERT_DIR where set, else certifi's authorities.

    Loaded once: it costs 20 milliseconds and a megabyte, and clients are made anew after every failure.

    Raises:
        ValueError: the file or folder named there cannot be read or holds no certificate.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"the file or folder in SSL_CERT_FILE or SSL_CERT_DIR: {error.strerror}") from None


def new_client(url: httpx.URL, tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client for one request at a time to `url`: one connection, no redirects, no cookies, HTTP/1.1.

    HTTPS_PROXY, ALL_PROXY and NO_PROXY hold for https, where a proxy sees only a tunnel. Plain http goes straight to
    its host: a proxy would read the token, and the host is a loopback address anyway.

    Raises:
        ValueError: a proxy in the environment that httpx cannot use. It is not repeated: it may hold a password.
    """
    with contextlib.suppress(ValueError, ImportError, httpx.InvalidURL):
        return _client(url, tls)
    # Outside, so that the error has no context that quotes the proxy.
    raise ValueError("HTTPS_PROXY or ALL_PROXY is no http://host:port (SOCKS is not supported)")


def _client(url: httpx.URL, tls: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=tls,
        trust_env=url.scheme == "https",
        follow_redirects=False,  # they would carry the token elsewhere
        http2=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS),
        timeout=None,  # noqa: S113 - httpx's bound single reads; `exchange` bounds the whole request
        # None is ever sent (the requests are not built by the client); this keeps its jar from growing with what a
        # destination invents.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


class _Steps:
    """What httpcore is doing for one request, as it tells by its trace extension."""

    def __init__(self, may_send: Callable[[], bool]) -> None:
        self._may_send = may_send
        self.opened: list[httpcore.AsyncNetworkStream] = []

    async def taken(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.opened.append(info["return_value"])
        elif event in _WRITES and not self._may_send():
            raise Fenced

    async def close_opened(self) -> None:
        # httpcore forgets a socket whose TLS handshake is cancelled: against a destination that accepts and then says
        # nothing, every time-out would leave one open.
        for stream in self.opened:
            await stream.aclose()


async def exchange(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    started: float,
    deadline: float,
    may_send: Callable[[], bool],
) -> tuple[Reply, bool]:
    """Makes one request and reads its answer.

    The status line is the answer, and the body only explains it: a body that is too long, drips past the deadline or
    breaks off leaves the status standing. So a 200 that was cut is not sent again.

    Args:
        client: from `new_client`.
        request: from `worker.attentive.request`.
        started: when the request was asked for, by the running loop's clock.
        deadline: when it must have ended, by the same clock.
        may_send: asked at the last moment before the head and before the body are written. Without its body a request
            is not complete, so a process that was stopped between the two has sent nothing that counts.

    Returns:
        The reply, and whether the client's connection may be used again.

    Raises:
        Exception: only what `failure_of` does not know, that is, a bug.
    """
    loop = asyncio.get_running_loop()
    steps = _Steps(may_send)
    request.extensions = {"trace": steps.taken}
    response: httpx.Response | None = None
    content = bytearray()
    failed: BaseException | None = None
    whole = False
    try:
        async with asyncio.timeout_at(deadline):
            # A process that was stopped may wake long past the deadline. That the time-out would strike before a small
            # request is written to a warm connection is true of today's anyio and promised by nobody.
            if loop.time() >= deadline:
                raise TimeoutError  # noqa: TRY301 - the same way out as the time-out's own
            response = await client.send(request, stream=True, auth=None)
            whole = await _read(response, content)
    except BaseException as error:  # noqa: BLE001 - sorted below, outside: see there
        failed = error
    # Outside the `except`, so that nothing raised from here has httpx's exception, which carries the request and
    # its token, as its context.
    seconds = loop.time() - started
    if failed is not None:
        await steps.close_opened()
    failure = None if failed is None else failure_of(failed)
    if failed is not None and failure is None:
        raise failed
    if response is not None and not isinstance(failed, asyncio.CancelledError):
        now_seconds = time.time()
        reply = reply_of(
            response.status_code, response.headers, bytes(content), now_seconds=now_seconds, seconds=seconds
        )
        return reply, whole
    return Reply(None, failure, seconds=seconds), False


async def _read(response: httpx.Response, content: bytearray) -> bool:
    """Reads the body up to the limit. True if that was all of it."""
    async with contextlib.aclosing(response):
        async for chunk in response.aiter_raw():
            content += chunk[: BODY_BYTES_MAX - len(content)]
            if len(content) >= BODY_BYTES_MAX:
                return False
    return True
