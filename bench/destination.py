"""Runs the destination as a process, and measures how fast it is without the worker."""

from __future__ import annotations

import functools
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from bench import responder
from bench.compiled import NotBuilt, program
from bench.figures import Figure, cpu_seconds
from bench.responder import ADDRESS
from tests.support.brokers import unique_name
from tests.support.java import Process
from tests.support.processes import until

CONNECTIONS = 32  # as many as a worker has by default
_REQUEST = (
    b"POST /v1/attributes/custom HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token\r\n"
    b"Content-Type: application/json\r\nContent-Length: 112\r\n\r\n" + b" " * 112
)


_SERVER = Path(__file__).parent / "server"


class Counted(NamedTuple):
    """How many calls were accepted, were over the limit or met an outage. First and last accepted: epoch seconds."""

    calls: int
    limited: int
    down: int
    first: float
    last: float


class Destination:
    """A running destination: compiled, or in Python where there is no Go.

    `options` are those of the compiled one (`-delay 50ms`, `-limit 150`, `-down 60s`), which alone has any.

    Raises:
        NotBuilt: it needs the compiled one, and there is none.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        command = [*_command(needed=bool(options)), *options]
        output = directory / unique_name("destination")
        self._process = Process(command, output)
        until(lambda: output.read_text().endswith("\n"), 20, "the destination serves")
        self._port = int(output.read_text())
        self.base_url = f"http://{ADDRESS}:{self._port}/v1"

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds that the process has used so far."""
        return cpu_seconds(self._process.pid)

    def counted(self) -> Counted:
        """What it has received so far."""
        return Counted(**httpx.get(self.base_url, timeout=10).raise_for_status().json())

    def delays(self) -> list[int]:
        """How long each `sent_us` since the last time this was asked had been under way, in microseconds."""
        path = self.base_url.removesuffix("/v1") + "/delays"
        return list(httpx.get(path, timeout=10).raise_for_status().json())

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


@functools.cache
def _command(*, needed: bool) -> list[str]:
    try:
        return [str(program(_SERVER))]
    except NotBuilt as problem:
        if needed:
            raise
        print(f"A slower destination in Python takes the compiled one's place: {problem}", file=sys.stderr)
        return [sys.executable, responder.__file__]
