"""Runs the responder as a process, and measures how fast it is without the worker."""

from __future__ import annotations

import selectors
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from bench import responder
from bench.figures import Figure, cpu_seconds
from bench.responder import ADDRESS
from tests.support.java import Process
from tests.support.processes import until

CONNECTIONS = 32  # as many as a worker has by default
_REQUEST = (
    b"POST /v1/attributes/custom HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token\r\n"
    b"Content-Type: application/json\r\nContent-Length: 112\r\n\r\n" + b" " * 112
)


class Counted(NamedTuple):
    """How many calls the destination received, and when the last one came, in seconds since the epoch."""

    calls: int
    last: float


class Destination:
    """A running responder."""

    def __init__(self, directory: Path) -> None:
        output = directory / "responder"
        self._process = Process([sys.executable, responder.__file__], output)
        until(lambda: output.read_text().endswith("\n"), 20, "the responder serves")
        self._port = int(output.read_text())
        self.base_url = f"http://{ADDRESS}:{self._port}/v1"

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds that the process has used so far."""
        return cpu_seconds(self._process.pid)

    def counted(self) -> Counted:
        """What it received since the last time this was asked."""
        return Counted(**httpx.get(self.base_url, timeout=10).raise_for_status().json())

    def stop(self) -> None:
        """Ends the process."""
        self._process.stop()

    def alone(self, calls: int) -> Figure:
        """Measures calls made by plain sockets, each answered before the next on its connection.

        The caller shares the cores with it, so the destination alone would be faster still. The CPU seconds are the
        destination's only.
        """
        used, started = self.cpu_seconds, time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for _ in range(CONNECTIONS):
                connection = socket.create_connection((ADDRESS, self._port))
                selector.register(connection, selectors.EVENT_READ)
                connection.sendall(_REQUEST)
            sent, answered = CONNECTIONS, 0
            while answered < calls:
                for key, _ in selector.select():
                    connection = key.fileobj  # type: ignore[assignment]  # what was registered: a socket
                    connection.recv(4096)
                    answered += 1
                    if sent < calls:
                        sent += 1
                        connection.sendall(_REQUEST)
            seconds = time.perf_counter() - started
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # as above
        return Figure(events=calls, seconds=seconds, cpu_seconds=self.cpu_seconds - used)
