"""The commands `run` and `sandbox` as processes, as users start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

TOKEN = "test-token"


def until(condition: Callable[[], object], seconds: float, what: str, *, pause: float = 0.05) -> None:
    """Wait until the condition holds. A transport error of httpx counts as 'not yet'.

    Raises:
        AssertionError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


class Command:
    """One `attribute-worker …` process; its stdout and stderr are kept in files."""

    def __init__(self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.output = directory / "stdout"
        self.log = directory / "stderr"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        with self.output.open("wb") as stdout, self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", *arguments],
                env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=directory,
            )

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far. Raises if a line is not JSON: the test then fails."""
        complete = self.log.read_text(errors="replace").split("\n")[:-1]
        return [json.loads(line) for line in complete if line]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]


class SandboxCommand(Command):
    """`attribute-worker sandbox` on a free port."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(["sandbox", "--port", "0", "--token", TOKEN, *options], directory, {})
        until(lambda: self.output.read_text().endswith("\n"), 20, f"the sandbox serves: {self.log.read_text()}")
        self.base_url = self.output.read_text().strip()
        self.root = self.base_url.removesuffix("/v1")

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = httpx.get(f"{self.root}/_sandbox/stats").raise_for_status().json()
        return stats

    def users(self) -> list[dict[str, Any]]:
        text = httpx.get(f"{self.root}/_sandbox/users", timeout=30).raise_for_status().text
        return [json.loads(line) for line in text.splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        text = httpx.get(f"{self.root}/_sandbox/requests", timeout=30).raise_for_status().text
        return [json.loads(line) for line in text.splitlines()]

    def upserts(self) -> list[dict[str, Any]]:
        """The requests that name a user. The limit turns others away before it reads them."""
        return [request for request in self.requests() if request["user"] is not None]

    def faults(self, faults: Sequence[Mapping[str, object]]) -> None:
        httpx.post(f"{self.root}/_sandbox/faults", json=list(faults)).raise_for_status()

    def tokens(self, *tokens: str) -> None:
        httpx.post(f"{self.root}/_sandbox/tokens", json=list(tokens)).raise_for_status()


class WorkerCommand(Command):
    """`attribute-worker run`, configured by environment variables only."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        defaults = {"WORKER_HTTP__PORT": "0", "WORKER_HTTP__HOST": "127.0.0.1", "WORKER_LOG__FORMAT": "json"}
        super().__init__(["run"], directory, {**defaults, **environment})
        self._url: str | None = None

    @property
    def url(self) -> str:
        if self._url is None:
            until(self._serving, 20, "the worker serves")
        return str(self._url)

    def _serving(self) -> bool:
        assert self.process.poll() is None, f"the worker ended: {self.log.read_text()[-2000:]}"
        for line in self.events("serving"):
            self._url = f"http://{line['host']}:{line['port']}"
        return self._url is not None

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = httpx.get(f"{self.url}/status", timeout=5).raise_for_status().json()
        return status

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.url}/readyz", timeout=5)

    def until_ready(self, seconds: float = 40) -> None:
        until(lambda: self.ready().status_code == 200, seconds, "ready")
