"""The health server: plain HTTP in its own threads, read-only.

It must answer Kubernetes' probes even while somebody keeps connections open on purpose. So connections are few and
short, and when all are taken, a new one cuts the oldest.
"""

from __future__ import annotations

import contextlib
import io
import socket
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import structlog

from worker.ops.answers import Answer, plain

ANY = "::"
_IPV4_ANY = "0.0.0.0"  # noqa: S104 - what `ANY` means on a system without IPv6
_HEAD_BYTES_MAX = 16_384
_UNREAD_BYTES_MAX = 65_536
_SLOT_WAIT_SECONDS = 0.2

_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_log = structlog.get_logger("worker.ops")


class AddressUnavailableError(Exception):
    """The health server cannot listen at its address. The message says where, and which setting to change."""


class Answering(Protocol):
    """What a server says. Called from several threads."""

    def answer(self, path: str, query: str, accept: str) -> Answer:
        """The answer to a GET of `path`."""


class OpsServer:
    """Serves paths from its own threads.

    Args:
        host: a name or address, IPv4 or IPv6. `ANY`: all addresses of both kinds, as far as the system has them.
        port: 0 picks a free one.
        answers: what it says on each path.
        port_option: what a user sets to have another port.
        connections_max: how many connections it serves at once.
        connection_seconds: how long one connection may last, from accept to the last byte.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        answers: Answering,
        port_option: str = "WORKER_HTTP__PORT",
        connections_max: int = 32,
        connection_seconds: float = 10.0,
    ) -> None:
        self._address = (host, port)
        self._answers = answers
        self._port_option = port_option
        self._connections_max = connections_max
        self._connection_seconds = connection_seconds
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> tuple[str, int]:
        """Listens and serves. Returns the bound address and port.

        Raises:
            AddressUnavailableError: the port is taken, or the host is not an address of this machine.
        """
        host, port = self._address
        try:
            server = self._listening(_IPV4_ANY if host == ANY and not _has_ipv6() else host, port)
        except OSError as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise AddressUnavailableError(
                f"cannot serve health and metrics on {where}: {error.strerror or error}; "
                f"set {self._port_option} to a free port (0 picks one), or WORKER_HTTP__HOST to an address of this "
                "machine"
            ) from error
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="ops-http", daemon=True)
        self._thread.start()
        return str(server.server_address[0]), int(server.server_address[1])

    def _listening(self, host: str, port: int) -> _Server:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return _Server(family, address, self._answers, self._connections_max, self._connection_seconds)

    def close(self) -> None:
        """Stops listening, and cuts open connections. Does nothing if it was not started."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.cut(None)
        self._server.server_close()
        self._server = None


class _Server(ThreadingHTTPServer):
    """Bounds the connections: how many at once, and how long each may last."""

    daemon_threads = False  # so `server_close` waits for them: until their connections' deadlines at most
    # With it, another process could listen on the same port and take half of the probes.
    allow_reuse_port = False
    request_queue_size = 64

    def __init__(
        self,
        family: socket.AddressFamily,
        address: Any,  # noqa: ANN401 - what getaddrinfo gives for the family
        answers: Answering,
        connections_max: int,
        connection_seconds: float,
    ) -> None:
        self.address_family = family
        self.answers = answers
        self._connection_seconds = connection_seconds
        self._slots = threading.BoundedSemaphore(connections_max)
        self._lock = threading.Lock()
        self._deadlines: dict[Any, float] = {}  # by connection, oldest first
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.server_address[0] == ANY:
            with contextlib.suppress(OSError):  # a system with IPv6 only
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # HTTPServer's own server_bind also asks DNS for the host's full name, which nobody uses.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in socketserver
        if not self._take_slot():
            self.shutdown_request(request)
            return
        with self._lock:
            self._deadlines[request] = time.monotonic() + self._connection_seconds
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in socketserver
        # Every connection ends here: served or refused, and also if its thread could not start.
        with self._lock:
            served = self._deadlines.pop(request, None) is not None
        if served:
            self._slots.release()
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.cut(time.monotonic())

    def cut(self, due: float | None) -> None:
        """Cuts the connections whose deadline is past, or all if `due` is None. Their threads wake and end."""
        with self._lock:
            for connection, deadline in self._deadlines.items():
                if due is None or deadline <= due:
                    _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as in socketserver
        # Clients vanish all the time. No traceback: it could contain what they sent.
        _log.debug("http_connection_failed", error=type(sys.exception()).__name__)

    def _take_slot(self) -> bool:
        if self._slots.acquire(blocking=False):
            return True
        with self._lock:
            oldest = next(iter(self._deadlines), None)
            if oldest is not None:
                _hang_up(oldest)
        return self._slots.acquire(timeout=_SLOT_WAIT_SECONDS)


def _has_ipv6() -> bool:
    """Whether the system can listen on IPv6: the kernel may have none, or an administrator may have disabled it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY, 0))
    except OSError:
        return False
    return True


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client has closed it already


class _Handler(BaseHTTPRequestHandler):
    """One request, one answer, then the connection is closed."""

    server: _Server
    timeout = 5.0  # of one read or write; the server bounds the whole connection
    server_version = "attribute-worker"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # with the base class's HTTP/0.9, a malformed request gets no status line

    def handle_one_request(self) -> None:
        self.close_connection = True
        # `_write` needs these, even if the head cannot be read.
        self.command = self.requestline = ""
        self.request_version = self.default_request_version
        head = self._read_head()
        if head is None:
            return
        line, rest = head
        self.raw_requestline = line
        # The standard parser would read up to 100 header lines of 64 KiB each. Give it what we read within our limit.
        connection, self.rfile = self.rfile, io.BytesIO(rest)
        try:
            understood = self.parse_request()
        finally:
            self.rfile = connection
        if understood:
            self._respond()
            if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                self._linger()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - they repeat the request's own bytes
        status = HTTPStatus(code)
        self._write(plain(status, status.phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's names
        """Nothing: probes come every few seconds, and a request's bytes have no place in the log."""

    def _read_head(self) -> tuple[bytes, bytes] | None:
        lines: list[bytes] = []
        left = _HEAD_BYTES_MAX
        while left > 0:
            line = self.rfile.readline(left)
            if not line:
                return None
            lines.append(line)
            left -= len(line)
            if line in {b"\r\n", b"\n"}:
                return lines[0], b"".join(lines[1:])
        self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._linger()
        return None

    def _respond(self) -> None:
        if self.command not in {"GET", "HEAD"}:
            self._write(plain(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD."), {"Allow": "GET, HEAD"})
            return
        path, _, query = self.path.partition("?")
        try:
            answer = self.server.answers.answer(path, query, self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a plain 500 and the log its type only
            _log.error("http_answer_failed", error=type(error).__name__)
            answer = plain(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error.")
        self._write(answer)

    def _write(self, answer: Answer, headers: dict[str, str] | None = None) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        for name, value in (_SECURITY_HEADERS | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _linger(self) -> None:
        # Closing a socket with unread bytes resets the connection, and the client may lose the answer. So shut down our
        # side first, then read on until the client closes (or sends too much).
        self.connection.shutdown(socket.SHUT_WR)
        self.rfile.read(_UNREAD_BYTES_MAX)
