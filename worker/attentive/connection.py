"""One connection that carries one exchange at a time, over h11.

    asyncio -> data_received -> h11 -> Response, Data, EndOfMessage -> the exchange's future

Bytes that arrive while no exchange is under way end the connection: they would pass for the answer to the next request.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, cast

import h11

from worker.attentive.message import BODY_BYTES_MAX, Broken, NotHttp

PIECE_BYTES: Final = 16 * 1024
"""The size of the pieces that a request is written in. The fence is asked before each one. What the kernel does not
take at once, asyncio would write later without asking. So a piece is small enough for a socket that is ready for
writing: Linux then has a third of its buffer free."""
_ROOM_SECONDS: Final = 0.01
"""How often to look whether the kernel takes another piece. No event of asyncio tells."""

RawHeaders = Sequence[tuple[bytes, bytes]]


class Received:
    """The part of an answer that has arrived. `cut`: the rest of its body is not read, because it is too long."""

    def __init__(self, bytes_max: int = BODY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.status = 0
        self.headers: RawHeaders = ()
        self.body = bytearray()
        self.cut = False

    @property
    def is_ambiguous(self) -> bool:
        """Whether it has both a length and chunks. The chunks count, and the connection must end (RFC 9112, 6.1)."""
        return {b"transfer-encoding", b"content-length"} <= {name for name, _ in self.headers}


class Connection(asyncio.Protocol):
    """A TCP or TLS connection. Every method is called in its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._wire: asyncio.Transport | None = None  # the TCP transport, also inside TLS
        self._poll, self._room = select.poll(), select.poll()
        self._http = h11.Connection(h11.CLIENT)
        self._received = Received()
        self._answer: asyncio.Future[Received] | None = None  # None: no exchange is under way
        self._tunnels = False  # the exchange is a CONNECT, whose answer is a head alone
        self._is_written = False
        self._is_tls = False
        self._is_new = True
        self.is_open = False
        """Whether another exchange may begin. False once either side closed, or bytes came that were no answer."""
        self.opened_at = self.used_at = loop.time()

    @property
    def transport(self) -> asyncio.Transport:
        """What the bytes are written to; `upgraded` changes it."""
        assert self._transport is not None  # noqa: S101 - asyncio calls connection_made before anything else
        return self._transport

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed, which takes the loop some turns after `abort`."""
        return self._wire is None or self._wire.get_extra_info("socket").fileno() < 0

    @property
    def has_begun(self) -> bool:
        """Whether the head of an answer has come."""
        return self._received.status > 0

    def upgraded(self, transport: asyncio.Transport) -> None:
        """Goes on inside TLS, as a new HTTP connection."""
        self._transport = transport
        self._is_tls = self._is_new = True
        self._http = h11.Connection(h11.CLIENT)

    def abort(self) -> None:
        """Closes at once, without waiting for the other side."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def has_unread(self) -> bool:
        """Whether the socket has bytes or an end of stream that asyncio has not delivered yet.

        False for a new TLS connection: its bytes are probably session tickets, which servers send unasked.
        """
        return not (self._is_new and self._is_tls) and bool(self._poll.poll(0))

    async def exchange(
        self,
        method: bytes,
        target: bytes,
        headers: RawHeaders,
        body: bytes,
        fence: Callable[[], None],
        answer_bytes_max: int = BODY_BYTES_MAX,
    ) -> Received:
        """Writes a request and reads its answer. `is_open` says afterwards whether the connection may be used again.

        Args:
            method: such as POST; CONNECT ends with the answer's head.
            target: the path, or host:port for CONNECT.
            headers: with Host, and Content-Length where there is a body.
            body: the whole of it.
            fence: called right before each write. If it raises, nothing more is written.
            answer_bytes_max: a longer body is cut there.

        Raises:
            Broken: the connection ended before the answer did.
            NotHttp: the answer is not HTTP/1.1.
            h11.LocalProtocolError: the request is not HTTP/1.1.
        """
        answer: asyncio.Future[Received] = self._loop.create_future()
        try:
            content = self._written(method, target, headers, body)
            if not self.is_open or self.has_unread():
                raise Broken("the other side closed the connection or spoke before it was asked")
            self._is_new = self._is_written = False
            self._tunnels = method == b"CONNECT"
            self._received = Received(answer_bytes_max)
            self._answer = answer
            await self._write(content, answer, fence)
            return await answer
        finally:
            # Cancelling this task cancels the future that it awaits. `exception()` also marks the exception as
            # retrieved: asyncio logs one that nobody retrieved.
            if not answer.done() or answer.cancelled() or answer.exception() is not None:
                self.abort()
            self._answer = None
            self.used_at = self._loop.time()

    def _written(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> bytes:
        content = self._http.send(h11.Request(method=method, target=target, headers=list(headers)))
        if body:
            content += self._http.send(h11.Data(data=body))
        return content + self._http.send(h11.EndOfMessage())

    async def _write(self, content: bytes, answer: asyncio.Future[Received], fence: Callable[[], None]) -> None:
        for start in range(0, len(content), PIECE_BYTES):
            while not answer.done() and not self._has_room():
                await asyncio.wait((answer,), timeout=_ROOM_SECONDS)
            if answer.done():
                if answer.exception() is None and self._received.status < HTTPStatus.BAD_REQUEST:
                    raise Broken("the answer came before the request was written")
                return  # it failed, or was refused before it was read, such as 413
            fence()
            self._is_written = start + PIECE_BYTES >= len(content)
            self.transport.write(content[start : start + PIECE_BYTES])

    def _has_room(self) -> bool:
        """Whether the kernel has taken everything and takes another piece.

        False once a write has failed, which ends the exchange in the next turn of the loop.
        """
        wire = self._wire
        is_taken = wire is not None and not wire.get_write_buffer_size() and not self.transport.get_write_buffer_size()
        return is_taken and not self.transport.is_closing() and bool(self._room.poll(0))

    # From here on: called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = self._wire = cast("asyncio.Transport", transport)
        descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(descriptor, select.POLLIN)
        self._room.register(descriptor, select.POLLOUT)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or bytes that nobody asked for."""
        if self._answer is None or self._answer.done():
            self.abort()
        else:
            self._http.receive_data(data)
            self._read("what came is not HTTP/1.1", NotHttp)

    def eof_received(self) -> None:
        """The other side sends no more. That completes an answer that has no length; any other is broken."""
        self.is_open = False
        if self._answer is None or self._answer.done():
            self.abort()
            return
        within = "within" if self._received.status else "before"
        words = f"the other side closed the connection {within} its answer"
        if self._is_cut_off():
            self._fail(Broken(words))
        else:
            self._http.receive_data(b"")
            self._read(words, Broken)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.is_open = False
        if isinstance(exc, ssl.SSLError):
            self._fail(Broken(f"TLS failed: {(exc.reason or 'no reason given').lower().replace('_', ' ')}"))
        elif exc is None or isinstance(exc, OSError):
            self._fail(Broken("the connection was reset"))
        else:
            self._fail(exc)  # a bug, which must be seen

    def _is_cut_off(self) -> bool:
        """Whether TLS ended without its closing alert: anybody may have ended the connection (RFC 9112, 9.8)."""
        if not self._is_tls:
            return False
        try:
            self.transport.get_extra_info("ssl_object").read(1)
        except ssl.SSLZeroReturnError:  # both sides have closed
            return False
        except ssl.SSLError:
            return True
        return False

    def _read(self, otherwise: str, kind: type[NotHttp | Broken]) -> None:
        try:
            self._read_events()
        except h11.RemoteProtocolError:  # its text may quote the answer
            self._fail(kind(otherwise))

    def _read_events(self) -> None:
        received = self._received
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                received.body += event.data[: received.bytes_max - len(received.body)]
                received.cut = len(received.body) >= received.bytes_max
                if received.cut:
                    return self._finish()
            elif isinstance(event, h11.Response):
                received.status, received.headers = event.status_code, list(event.headers)
                if self._tunnels:
                    return self._finish()
            elif isinstance(event, h11.EndOfMessage):
                return self._finish()
            elif not isinstance(event, h11.InformationalResponse):  # NEED_DATA, PAUSED or ConnectionClosed
                return None

    def _finish(self) -> None:
        """The answer is complete. Keeps the connection only if request and answer were both transferred whole."""
        http = self._http
        is_whole = self._tunnels or (
            http.our_state is http.their_state is h11.DONE
            and not self._received.cut
            and self._is_written
            and not self._received.is_ambiguous
        )
        if not is_whole or http.trailing_data[0]:
            self.abort()
        elif not self._tunnels:
            http.start_next_cycle()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._received)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
