"""The script of `helm test`, which the chart carries. Needs no Helm."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helm.generate import CHART
from tests.support.ports import reserved_port


@contextmanager
def replica(status: int, answer: bytes) -> Iterator[int]:
    """A worker's /readyz on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def helm_test(port: int) -> subprocess.CompletedProcess[str]:
    script = (CHART / "ready.py").read_text()
    command = [sys.executable, "-c", script, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_test_passes_if_every_replica_is_ready() -> None:
    with replica(200, b'{"ready": true}') as port:
        done = helm_test(port)
    assert (done.returncode, done.stdout) == (0, '127.0.0.1 {"ready": true}\n')


def test_the_test_fails_and_prints_why_a_replica_is_not_ready() -> None:
    with replica(503, b'{"reason": "unauthorized"}') as port:
        done = helm_test(port)
    assert (done.returncode, done.stdout) == (1, '127.0.0.1 {"reason": "unauthorized"}\n')


def test_the_test_fails_if_nobody_answers() -> None:
    done = helm_test(reserved_port())
    assert done.returncode == 1
    assert "refused" in done.stdout
