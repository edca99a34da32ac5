from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import httpx

from worker.sandbox.server import Sandbox
from worker.sandbox.service import Settings

ATTRIBUTES = "/attributes/custom"
PHONE = "+13115552368"
PLAIN = Settings(tokens=("token",), limit=0, record=True)


class Rig:
    """A served sandbox and a client that holds its token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.client = httpx.Client(base_url=sandbox.url, headers={"Authorization": "Bearer token"}, timeout=10)

    def set(self, properties: object, **user: object) -> httpx.Response:
        """One upsert, for PHONE unless a user is given."""
        return self.client.post(ATTRIBUTES, json={"user": user or {"phone": PHONE}, "properties": properties})

    def raw(self, body: bytes) -> httpx.Response:
        return self.client.post(ATTRIBUTES, content=body, headers={"Content-Type": "application/json"})

    def read(self, **query: str) -> httpx.Response:
        return self.client.get(ATTRIBUTES, params=query or {"phone": PHONE})

    def control(self, method: str, path: str, document: object = None) -> httpx.Response:
        return self.client.request(method, f"{self.sandbox.origin}/_sandbox/{path}", json=document)

    def await_stat(self, name: str, value: object) -> None:
        deadline = time.monotonic() + 10
        while self.sandbox.stats()[name] != value:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def in_background(call: Callable[[], object]) -> threading.Thread:
    """Starts a call whose outcome does not matter."""

    def run() -> None:
        with contextlib.suppress(httpx.HTTPError):
            call()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
