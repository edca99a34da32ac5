"""The Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")


def test_every_stage_stands_on_one_base_that_is_pinned_by_digest() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", TEXT, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim@sha256:[0-9a-f]{64}", base)
    assert {stage.split()[0] for stage in re.findall(r"^FROM (.*)$", TEXT, re.MULTILINE)} == {"${PYTHON_IMAGE}"}


@contextmanager
def alive(host: str, status: int) -> Iterator[int]:
    """Serves `/livez` with this status. Yields the port."""

    class Livez(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((host, 0), Livez) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


def health(**variables: str) -> int:
    """The exit status of the health check, with these variables set."""
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (.*)$", TEXT, re.MULTILINE)
    command: list[str] = json.loads(check)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return subprocess.run(
        [sys.executable, *command[1:]], env=plain | variables, capture_output=True, timeout=60, check=False
    ).returncode


@pytest.mark.parametrize(
    ("serves", "told"),
    [
        ("127.0.0.1", {}),
        ("127.0.0.1", {"WORKER_HTTP__HOST": "::"}),
        ("127.0.0.1", {"WORKER_HTTP__HOST": "localhost"}),
        ("127.0.0.2", {"WORKER_HTTP__HOST": "127.0.0.2"}),
    ],
    ids=str,
)
def test_the_health_check_asks_the_address_that_is_set(serves: str, told: dict[str, str]) -> None:
    with alive(serves, 200) as port:
        assert health(WORKER_HTTP__PORT=str(port), **told) == 0
    assert health(WORKER_HTTP__PORT=str(port), **told) == 1


def test_the_health_check_fails_if_the_main_loop_stands_still() -> None:
    with alive("127.0.0.1", 503) as port:
        assert health(WORKER_HTTP__PORT=str(port)) == 1
