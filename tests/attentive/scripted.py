"""A server at the level of the socket: each test scripts what a connection does, as HTTP libraries would not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Connection:
    """The server's end of one connection."""

    socket: socket.socket
    stopping: threading.Event
    requests: list[Received]
    sent_bytes: int = 0
    _buffer: bytes = field(default=b"", repr=False)

    def receive(self) -> Received | None:
        """The next request, or None when the client has gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        received = Received(line, headers, body)
        self.requests.append(received)
        return received

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)
        self.sent_bytes += len(content)

    def drip(self, content: bytes, every_seconds: float) -> None:
        """Sends byte by byte until the client goes or the test ends."""
        for byte in content:
            self.send(bytes([byte]))
            if self.stopping.wait(every_seconds):
                return

    def reset(self) -> None:
        """Ends the connection by RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def hold(self) -> None:
        """Does nothing until the test ends."""
        self.stopping.wait(30)

    def _more(self) -> bool:
        chunk = self.socket.recv(65536)
        self._buffer += chunk
        return bool(chunk)


Script = Callable[[Connection], None]


@dataclass
class Server:
    """A listening server; `connections` and `requests` grow as they come."""

    host: str
    port: int
    connections: list[Connection] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"


@contextlib.contextmanager
def serving(script: Script) -> Iterator[Server]:
    """Runs `script` for every connection, each in a thread, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server("127.0.0.1", listener.getsockname()[1])
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: Connection) -> None:
        with connection.socket, contextlib.suppress(OSError):
            script(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                connection = Connection(accepted, stopping, server.requests)
                server.connections.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        stopping.set()
        listener.shutdown(socket.SHUT_RDWR)  # wakes the accept; a close alone would not
        acceptor.join()
        for connection in server.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        listener.close()


def answering(*replies: bytes) -> Script:
    """Answers each request of a connection with the next reply, the last one again and again."""

    def script(connection: Connection) -> None:
        number = 0
        while connection.receive() is not None:
            connection.send(replies[min(number, len(replies) - 1)])
            number += 1

    return script


def never_answers(connection: Connection) -> None:
    connection.receive()
    connection.hold()


def resets(connection: Connection) -> None:
    connection.receive()
    connection.reset()


def closes_early(connection: Connection) -> None:
    connection.receive()


def is_not_http(connection: Connection) -> None:
    connection.receive()
    connection.send(b"SSH-2.0-OpenSSH_9.2\r\n")
