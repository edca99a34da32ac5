"""The sandbox as a server in a thread of this process: for the command, for `demo`, and for tests."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worker.sandbox.app import TRANSPORT_EXTENSION, App
from worker.sandbox.control import control_app
from worker.sandbox.faults import FaultPlan, read_faults
from worker.sandbox.service import Service, Settings

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
# Long enough for any answer under way, because a stop cuts delays and drips short.
STOP_SECONDS = 5
ASK_SECONDS = 30

Result = TypeVar("Result")


class Sandbox:
    """A context manager around one sandbox server.

    It accepts connections from construction on, and answers them from `start` on. `stats`, `users` and `requests` also
    work after `stop`. All methods may be called from any thread.
    """

    def __init__(
        self, settings: Settings, *, host: str = "127.0.0.1", port: int = 0, log_requests: bool = False
    ) -> None:
        """Port 0 picks a free one. `log_requests` logs a line for each request, without identifiers or values.

        Raises:
            OSError: The address cannot be bound.
        """
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.origin = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.url = f"{self.origin}/v1"
        """The base URL to use instead of `https://api.attentivemobile.com/v1`."""
        self._service = Service(settings, time.time())
        self._app = App(self._service, control_app(self._service), log_requests=log_requests)
        self._server = _Server(self._app)
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts to serve, once.

        Raises:
            RuntimeError: The server could not be set up; its thread has said why.
        """
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        """Stops within about `STOP_SECONDS`. Finishes answers under way, drops those that a fault delays."""
        if self._thread.ident is None:
            self._socket.close()
        elif self._thread.is_alive():
            self._ask(self._app.release)
            self._server.should_exit = True
            self._thread.join()

    def users(self) -> list[dict[str, Any]]:
        """The final state, like `GET /_sandbox/users`. Numbers with a fraction are `Decimal`."""
        return _parsed(self._ask(self._service.account.lines))

    def stats(self) -> dict[str, Any]:
        """The counts, like `GET /_sandbox/stats`."""
        return self._ask(self._service.stats)

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The recorded requests, like `GET /_sandbox/requests`, with times as floats. Empty if `record` is off."""
        requests = _parsed(self._ask(lambda: list(self._service.meter.lines(since))))
        for request in requests:
            for time_name in ("received_at", "answered_at", "ended_at"):
                if request[time_name] is not None:
                    request[time_name] = float(request[time_name])
        return requests

    def set_faults(self, faults: Sequence[object]) -> None:
        """Replaces all faults by these, like `POST /_sandbox/faults`.

        Raises:
            FaultError: An entry is malformed.
        """
        read = read_faults(list(faults))

        def put() -> None:
            self._service.plan = FaultPlan(read, time.time())

        self._ask(put)

    def set_tokens(self, tokens: Sequence[str]) -> None:
        """Makes these the only valid tokens."""

        def put() -> None:
            self._service.tokens = frozenset(tokens)

        self._ask(put)

    def reset(self) -> None:
        """Resets the sandbox to its state after the start."""
        self._ask(lambda: self._service.reset(time.time()))

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._server.ready.set()

    def _ask(self, question: Callable[[], Result]) -> Result:
        """Runs `question` in the server's event loop, which owns the state; or here if that loop does not run."""

        async def ask() -> Result:
            return question()

        loop = self._server.loop
        if loop is None or not self._thread.is_alive():
            return question()
        coroutine = ask()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(ASK_SECONDS)
        except (RuntimeError, CancelledError):
            # The loop ended after the check above.
            coroutine.close()
            self._thread.join()
            return question()


class _Server(Server):
    """Tells when it is ready, and which event loop it runs in."""

    def __init__(self, app: App) -> None:
        config = Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the application writes it: a fault may set it
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.loop = asyncio.get_running_loop()
        self.ready.set()


class _Protocol(HttpToolsProtocol):
    """Passes the connection to the application: some faults close it, and ASGI has no message for that."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT_EXTENSION: {"transport": self.transport}}


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not `socket.create_server`, which sets no protocol number. asyncio sets TCP_NODELAY only on a socket with the
    # number of TCP. Without TCP_NODELAY, every answer with a body comes 40 ms late.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _parsed(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in lines]
