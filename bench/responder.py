"""A destination that is not the bottleneck: it answers 200 to every request at once, and counts them.

It stands in for the compiled one in `server/` where there is no Go, and says the same on stdout and to a GET. It has
no delay, no limit and no outage. Any other request counts as a call. Chunked bodies are not supported.
"""

from __future__ import annotations

import asyncio
import json
import re
import time

ADDRESS = "127.0.0.1"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


_EMPTY = _answer(b"{}")


class Counts:
    """Calls so far; `first` and `last` are when the first and the last one came, in seconds since the epoch."""

    def __init__(self) -> None:
        self.calls = 0
        self.first = self.last = 0.0

    def told(self) -> bytes:
        """The counts as JSON."""
        return json.dumps({**vars(self), "limited": 0, "down": 0}).encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._read = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport, to write answers to."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a TCP transport always is
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers every request that has arrived completely."""
        self._read += data
        while (end := self._read.find(_HEAD_END)) >= 0:
            head = bytes(self._read[:end])
            length = _LENGTH.search(head)
            whole = end + len(_HEAD_END) + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                return
            del self._read[:whole]
            self._write(_answer(self._counts.told()) if head.startswith(b"GET ") else self._called())

    def _called(self) -> bytes:
        self._counts.calls += 1
        self._counts.last = time.time()
        self._counts.first = self._counts.first or self._counts.last
        return _EMPTY

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def serve() -> None:
    """Serves on a free port until the process is ended."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), ADDRESS, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
