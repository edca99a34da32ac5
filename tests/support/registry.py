"""A Confluent-compatible schema registry for tests: Apicurio as a process of this machine, in memory."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.support.java import Process, Unavailable, java, registry_app
from tests.support.ports import reserved_port

_READY_SECONDS = 90.0


class Registry:
    """The registry; start it once a session. `url` is what a schema-registry client takes.

    It differs from Confluent's: its ids have gaps, and it answers an incompatible schema with error code 409.
    """

    def __init__(self, directory: Path) -> None:
        self._log = directory / "registry.log"
        self._runner = next(registry_app().glob("*-runner.jar"))
        self._process: Process | None = None
        self._port = reserved_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start and wait until it answers; compatibility is then BACKWARD, as in Confluent's.

        Raises:
            Unavailable: it did not start; the message ends with its log.
        """
        if not self._launch():
            self._port = reserved_port()  # another process may have taken it
            if not self._launch():
                raise Unavailable(f"the registry did not start: {self._process.tail() if self._process else ''}")
        httpx.put(f"{self.url}/config", json={"compatibility": "BACKWARD"}, timeout=30).raise_for_status()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def _launch(self) -> bool:
        command = java(
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={self._port}",
            # A schema with another layout of the same JSON counts as the same schema.
            "-Dregistry.ccompat.use-canonical-hash=true",
            "-jar",
            str(self._runner),
        )
        self._process = Process(command, self._log)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._process.running:
            try:
                if httpx.get(f"{self.url}/subjects", timeout=2).is_success:
                    return True
            except httpx.TransportError:
                time.sleep(0.1)
        self._process.kill()
        return False
