"""A TCP proxy that misbehaves on order: it plays the network between two processes.

A link carries bytes both ways until it is told to be slow, to swallow bytes, to refuse or to reset connections. When
the client's side of a connection ends, the server's side ends at once: after a client gave a connection up, none of its
bytes arrive.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

CHUNK_BYTES = 65_536

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST and drops what is unsent


class Link:
    """One listening port in front of one server. Call its methods in the event loop's thread only.

    Attributes:
        latency_seconds: added to every piece, each way.
        swallows: whether bytes vanish, both ways, while connections stay open. When it ends, connections that lost
            bytes are reset.
    """

    def __init__(self) -> None:
        self.port = 0
        self.latency_seconds = 0.0
        self._refuses = False
        self._swallows = False
        self._upstream: tuple[str, int] = ("127.0.0.1", 0)
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def listen(self) -> None:
        """Takes a free port; connections are refused until `lead_to` is called."""
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = int(self._listener.sockets[0].getsockname()[1])

    def lead_to(self, address: str) -> None:
        """Sets the server: host:port."""
        host, _, port = address.rpartition(":")
        self._upstream = (host, int(port))

    def swallow(self, *, on: bool) -> None:
        """Begins or ends to swallow all bytes."""
        self._swallows = on
        if not on:
            for connection in [found for found in self._connections if found.damaged]:
                connection.abort()

    def refuse(self, *, on: bool) -> None:
        """Begins or ends to reset new connections at once; when it begins, resets the others, too."""
        self._refuses = on
        if on:
            self.reset()

    def slow_down(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds

    def reset(self) -> None:
        """Resets every connection (RST)."""
        for connection in list(self._connections):
            connection.abort()

    def half_close(self) -> None:
        """Tells every client that the server has finished sending (FIN), although it has not."""
        for connection in list(self._connections):
            connection.half_close()

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.reset()

    @property
    def swallows(self) -> bool:
        return self._swallows

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            if self._refuses or not self._upstream[1]:
                return
            with suppress(OSError):
                await connection.carry(*self._upstream)
        finally:
            connection.abort()
            self._connections.discard(connection)


class _Connection:
    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._reader, self._writer = reader, writer
        self._upstream: asyncio.StreamWriter | None = None
        self.damaged = False
        self._muted = False

    async def carry(self, host: str, port: int) -> None:
        reader, self._upstream = await asyncio.open_connection(host, port)
        out = asyncio.ensure_future(self._pump(self._reader, self._upstream))
        back = asyncio.ensure_future(self._pump(reader, self._writer))
        try:
            await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
            if back.done():  # the server has ended: deliver what it sent last
                with suppress(OSError):
                    await asyncio.wait_for(self._writer.drain(), 5)
                self._writer.close()
        finally:
            out.cancel()
            back.cancel()
            await asyncio.gather(out, back, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            # A slow link delays bytes, but never the end of a connection.
            while piece := await self._next(source):
                if self._link.swallows:
                    self.damaged = True
                    continue
                if sink is self._writer and self._muted:
                    continue
                sink.write(piece)
                await sink.drain()

    async def _next(self, source: asyncio.StreamReader) -> bytes:
        piece = await source.read(CHUNK_BYTES)
        if piece and self._link.latency_seconds:
            await asyncio.sleep(self._link.latency_seconds)
            if source.at_eof() or source.exception():
                return b""
        return piece

    def half_close(self) -> None:
        if not self._muted and self._writer.can_write_eof() and not self._writer.is_closing():
            self._muted = True
            with suppress(OSError):
                self._writer.write_eof()

    def abort(self) -> None:
        for writer in (self._writer, self._upstream):
            if writer is None or writer.is_closing():
                continue
            with suppress(OSError):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
