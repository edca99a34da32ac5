"""The ASGI application: reads requests, sends the service's answers, and carries out the faults on the wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import formatdate
from typing import Any, TypeAlias
from urllib.parse import quote

from worker.sandbox.meter import Exchange
from worker.sandbox.service import BODY_BYTES_MAX, Answer, Request, Service, phrase

# ASGI's own names. Any, because each key of these mappings has a value of another type.
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_PREFIX = "/_sandbox/"
TRANSPORT_EXTENSION = "sandbox.transport"
DRIPS_PER_SECOND = 10

_log = logging.getLogger(__name__)


class App:
    """Serves Attentive's paths itself, for speed, and passes paths under `/_sandbox/` to `control`."""

    def __init__(self, service: Service, control: Application, *, log_requests: bool = False) -> None:
        self._service = service
        self._control = control
        self._log_requests = log_requests
        self._delayed: set[asyncio.Transport] = set()
        self._closing = False

    def release(self) -> None:
        """Ends every delay and drip by closing its connection, so that a stop does not wait for them."""
        self._closing = True
        for transport in self._delayed:
            transport.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["path"].startswith(CONTROL_PREFIX):
            await self._control(scope, receive, send)
            return
        meter = self._service.meter
        exchange = meter.received(scope["method"], scope["path"], time.time())
        try:
            request = await _read_request(scope, receive)
            if request is not None:
                await self._answer(exchange, request, _Wire(scope, receive, send))
        finally:
            if exchange.ended_at is None:
                meter.ended(exchange, None, time.time())
            if self._log_requests:
                seconds = time.time() - exchange.received_at
                _log.info("%s %s %s %.3f s", exchange.method, quote(exchange.path), exchange.status or "-", seconds)

    async def _answer(self, exchange: Exchange, request: Request, wire: _Wire) -> None:
        """Answers, unless the client leaves first. Then the exchange has no end yet, and the caller ends it."""
        answer, fault = self._service.answer(exchange, request, time.time())
        if fault is not None:
            if fault.delay and not await self._delay(wire, fault.delay):
                return
            if fault.drop is not None:
                self._service.meter.ended(exchange, None, time.time())
                await wire.abort()
                return
            if fault.drip is not None:
                await self._drip(exchange, wire, answer, fault.drip)
                return
        # End it before the answer goes out. Else the client may get the answer and send this user's next request, and
        # we would count an overlap.
        self._service.meter.ended(exchange, answer.status, time.time())
        await wire.send(answer)

    async def _delay(self, wire: _Wire, seconds: float) -> bool:
        """Waits for so many seconds. Returns False at once if the client leaves or the sandbox stops."""
        if self._closing:
            await wire.abort()
            return False
        self._delayed.add(wire.transport)
        try:
            async with asyncio.timeout(seconds):
                await wire.wait_closed()
        except TimeoutError:
            return True
        finally:
            self._delayed.discard(wire.transport)
        return False

    async def _drip(self, exchange: Exchange, wire: _Wire, answer: Answer, bytes_per_second: float) -> None:
        """Sends the whole answer, head included, at this pace, then closes. Stops if the client leaves."""
        message = _as_bytes(answer)
        size = max(1, int(bytes_per_second / DRIPS_PER_SECOND))
        for start in range(0, len(message), size):
            last = start + size >= len(message)
            if last:
                self._service.meter.ended(exchange, answer.status, time.time())
            piece = message[start : start + size]
            wire.transport.write(piece)
            if not last and not await self._delay(wire, len(piece) / bytes_per_second):
                return
        wire.transport.close()
        await wire.wait_closed()


class _Wire:
    """The way back to one request's client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.transport: asyncio.Transport = scope["extensions"][TRANSPORT_EXTENSION]["transport"]
        self._receive = receive
        self._send = send

    async def send(self, answer: Answer) -> None:
        headers = [(name.encode(), value.encode()) for name, value in _headers(answer).items()]
        if answer.status not in (204, 304):
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body})

    async def wait_closed(self) -> None:
        """Waits until the connection is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def abort(self) -> None:
        """Closes the connection without another byte. Waits for the server to notice: the app may not return before."""
        self.transport.abort()
        await self.wait_closed()


async def _read_request(scope: Scope, receive: Receive) -> Request | None:
    """The request with its body. None if the client left before the end of the body."""
    body: bytearray | None = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        more = message.get("more_body", False)
        if body is not None:
            body += message.get("body", b"")
            if len(body) > BODY_BYTES_MAX:
                body = None
    headers = dict(scope["headers"])
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        authorization=headers.get(b"authorization", b"").decode("latin-1"),
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
        body=None if body is None else bytes(body),
    )


def _headers(answer: Answer) -> Mapping[str, str]:
    """The answer's headers, with a Date: the one that a fault gives it, else the time."""
    return {"date": formatdate(usegmt=True), **answer.headers}


def _as_bytes(answer: Answer) -> bytes:
    head = [f"HTTP/1.1 {answer.status} {phrase(answer.status)}"]
    head += [f"{name}: {value}" for name, value in _headers(answer).items()]
    head += [f"content-length: {len(answer.body)}", "connection: close", "", ""]
    return "\r\n".join(head).encode() + answer.body
