"""A small HTTP server that speaks the Confluent registry's API, with faults that a test orders."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOT_FOUND = (404, {"error_code": 40403, "message": "Schema not found"})
Answer = tuple[int, object]


@dataclass
class StubRegistry:
    """The registry.

    Attributes:
        schemas, subjects: what it holds.
        asked, authorization, registered: what it received.
        fault: maps a path to an answer that replaces its own; None keeps its own. Bytes are sent as HTML.
    """

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    registered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fault: Callable[[str], Answer | None] = lambda _path: None

    def hold(self, schema_id: int, schema: object, **more: object) -> None:
        """Adds a schema under an id; `more` may give `references` and `schemaType`."""
        self.schemas[schema_id] = {"schema": schema if isinstance(schema, str) else json.dumps(schema), **more}

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """The API's answer, or the ordered fault."""
        self.asked.append(f"{method} {path}")
        fault = self.fault(path)
        if fault is not None:
            return fault
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            schema = self.schemas.get(int(parts[2]))
            return (200, schema) if schema else NOT_FOUND
        if method == "POST":
            self.registered.append((parts[1], json.loads(body)))
            return 200, {"id": 901}
        schema_id = self.subjects[parts[1], parts[3]]
        version = {"subject": parts[1], "version": int(parts[3]), "id": schema_id, **self.schemas[schema_id]}
        return 200, version


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Quiet about clients that break off, as at a certificate that they do not trust."""


@contextmanager
def stub_registry(tls: ssl.SSLContext | None = None) -> Iterator[StubRegistry]:
    """Serves a stub registry on a free loopback port, inside TLS if there is a context for it."""
    stub = StubRegistry()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stub.authorization.append(_readable(self.headers.get("Authorization")))
            status, content = stub.answer(self.command, self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(content, bytes) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    if tls is not None:
        # Each connection's own thread makes the handshake, and is the one to hear that it failed.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        stub.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _readable(header: str | None) -> str | None:
    if header and header.startswith("Basic "):
        return base64.b64decode(header.removeprefix("Basic ")).decode()
    return header
