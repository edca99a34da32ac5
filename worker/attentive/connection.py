"""One connection that carries one exchange at a time.

    begin -> the request is written -> buffer_updated -> a plain answer, or h11's events -> the exchange's future

Bytes that arrive while no exchange is under way end the connection: they would pass for the answer to the next request.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

import h11

from worker.attentive.http1 import RawHeaders, plain_answer, reader_of
from worker.attentive.message import BODY_BYTES_MAX, Broken, Fenced, NoAnswer, NotHttp

PIECE_BYTES: Final = 16 * 1024
"""The size of the pieces that a request is written in. The fence is asked before each one. What the kernel does not
take at once, asyncio would write later without asking. So a piece is small enough for a socket that is ready for
writing: Linux then has a third of its buffer free."""
_BUFFER_BYTES: Final = 16 * 1024
"""How much is read at once: as much as one record of TLS holds. `asyncio.Protocol` makes an object of 256 KiB for each
read, which costs more than the read."""
_ROOM_SECONDS: Final = 0.01
"""How often to look whether the kernel takes another piece. No event of asyncio tells."""
_CONNECT: Final = b"CONNECT"
_WITH_PLAIN_ANSWERS: Final = frozenset({b"GET", b"POST"})


class Received:
    """The part of an answer that has arrived. `cut`: the rest of its body is not read, because it is too long."""

    def __init__(self, bytes_max: int = BODY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.status = 0
        self.headers: RawHeaders = ()
        self.body: bytes | bytearray = b""
        self.cut = False

    @property
    def is_ambiguous(self) -> bool:
        """Whether it has both a length and chunks. The chunks count, and the connection must end (RFC 9112, 6.1)."""
        return {b"transfer-encoding", b"content-length"} <= {name for name, _ in self.headers}


class Connection(asyncio.BufferedProtocol):
    """A TCP or TLS connection. Every method is called in its loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._wire: asyncio.Transport | None = None  # the TCP transport, also inside TLS
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._poll = select.poll()
        self._flags = 0  # what the socket was ready for when `has_unread` looked
        self._answer: asyncio.Future[Received] | None = None  # of the latest exchange
        self._method = b""
        self._content = b""
        self._written = 0  # how many bytes of the content
        self._fence: Callable[[], None] = lambda: None
        self._received = Received()
        self._reader: h11.Connection | None = None  # None while only a plain answer is expected
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

    def abort(self) -> None:
        """Closes at once, without waiting for the other side."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def has_unread(self) -> bool:
        """Whether the socket has bytes or an end of stream that asyncio has not delivered yet.

        False for a new TLS connection: its bytes are probably session tickets, which servers send unasked.
        """
        self._flags = self._ready()
        return not (self._is_new and self._is_tls) and bool(self._flags & ~select.POLLOUT)

    def begin(
        self,
        method: bytes,
        content: bytes,
        fence: Callable[[], None],
        answer_bytes_max: int = BODY_BYTES_MAX,
    ) -> asyncio.Future[Received]:
        """Writes a request; the future is its answer. `is_open` then says whether the connection may be used again.

        On a connection that was idle, call `has_unread` right before. To cancel the future does not close the
        connection: call `abort`.

        Args:
            method: such as POST; CONNECT ends with the answer's head.
            content: the whole request, as `http1.written` makes it.
            fence: called right before each write. If it raises a `NoAnswer` or `Fenced`, nothing more is written.
            answer_bytes_max: a longer body is cut there.

        The future's exceptions:
            Broken: the connection ended before the answer did.
            NotHttp: the answer is not HTTP/1.1.
            NoAnswer, Fenced: what the fence raised.
        """
        answer = self._answer = self._loop.create_future()
        self._method, self._content, self._written, self._fence = method, content, 0, fence
        self._received = Received(answer_bytes_max)
        self._reader = None if method in _WITH_PLAIN_ANSWERS else reader_of(method)
        if not self.is_open or (self._is_new and self.has_unread()):
            self.fail(Broken("the other side closed the connection or spoke before it was asked"))
        else:
            self._is_new = False
            self._write(answer, self._flags)
        return answer

    def fail(self, error: Exception) -> None:
        """Ends the exchange, if one is under way, and the connection."""
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _write(self, answer: asyncio.Future[Received], flags: int | None = None) -> None:
        """Writes what the kernel takes, and the rest later. `flags`: what the socket was ready for just now."""
        while self._written < len(self._content) and not answer.done():
            if not self._has_room(self._ready() if flags is None else flags):
                self._loop.call_later(_ROOM_SECONDS, self._write, answer)
                return
            try:
                self._fence()
            except (NoAnswer, Fenced) as error:
                self.fail(error)
                return
            start, self._written = self._written, self._written + PIECE_BYTES
            self.transport.write(self._content[start : self._written])
            flags = None

    def _has_room(self, flags: int) -> bool:
        """Whether the kernel has taken everything and takes another piece.

        False once a write has failed, which ends the exchange in the next turn of the loop.
        """
        wire = self._wire
        is_taken = wire is not None and not wire.get_write_buffer_size() and not self.transport.get_write_buffer_size()
        return is_taken and not self.transport.is_closing() and bool(flags & select.POLLOUT)

    def _ready(self) -> int:
        """What the socket is ready for, as flags of `select.poll`."""
        return next((flags for _, flags in self._poll.poll(0)), 0)

    # From here on: called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = self._wire = cast("asyncio.Transport", transport)
        descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(descriptor, select.POLLIN | select.POLLOUT)
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what asyncio would like
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the answer, or bytes that nobody asked for."""
        data = bytes(self._buffer[:nbytes])
        if self._answer is None or self._answer.done():
            self.abort()
        elif self._reader is None and (plain := plain_answer(data, self._received.bytes_max)) is not None:
            self._received.status, self._received.headers, self._received.body = plain
            self._complete()
        else:
            self._read(data, "what came is not HTTP/1.1", NotHttp)

    def eof_received(self) -> None:
        """The other side sends no more. That completes an answer that has no length; any other is broken."""
        self.is_open = False
        if self._answer is None or self._answer.done():
            self.abort()
            return
        within = "within" if self._received.status else "before"
        words = f"the other side closed the connection {within} its answer"
        if self._is_cut_off():
            self.fail(Broken(words))
        else:
            self._read(b"", words, Broken)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.is_open = False
        if isinstance(exc, ssl.SSLError):
            self.fail(Broken(f"TLS failed: {(exc.reason or 'no reason given').lower().replace('_', ' ')}"))
        elif exc is None or isinstance(exc, OSError):
            self.fail(Broken("the connection was reset"))
        else:
            self.fail(exc)  # a bug, which must be seen

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

    def _read(self, data: bytes, otherwise: str, kind: type[NotHttp | Broken]) -> None:
        if self._reader is None:
            self._reader = reader_of(self._method)
        self._reader.receive_data(data)
        try:
            self._read_events(self._reader)
        except h11.RemoteProtocolError:  # its text may quote the answer
            self.fail(kind(otherwise))

    def _read_events(self, reader: h11.Connection) -> None:
        received = self._received
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Data):
                received.body += event.data[: received.bytes_max - len(received.body)]
                received.cut = len(received.body) >= received.bytes_max
                if received.cut:
                    return self._complete(keep=False)
            elif isinstance(event, h11.Response):
                received.status, received.headers = event.status_code, list(event.headers)
                if self._method == _CONNECT:
                    return self._complete(keep=not reader.trailing_data[0])
            elif isinstance(event, h11.EndOfMessage):
                return self._complete(keep=_is_whole(reader) and not received.is_ambiguous)
            elif not isinstance(event, h11.InformationalResponse):  # NEED_DATA, PAUSED or ConnectionClosed
                return None

    def _complete(self, *, keep: bool = True) -> None:
        """The answer is complete. Keeps the connection only if request and answer were both transferred whole."""
        is_written = self._written >= len(self._content)
        if not is_written and self._received.status < HTTPStatus.BAD_REQUEST:
            self.fail(Broken("the answer came before the request was written"))
            return
        if not keep or not is_written:
            self.abort()
        self.used_at = self._loop.time()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._received)


def _is_whole(reader: h11.Connection) -> bool:
    return reader.our_state is reader.their_state is h11.DONE and not reader.trailing_data[0]
