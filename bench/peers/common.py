"""What the peers in Python have in common: their settings, one event's bytes to whose and what, and one call's body."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

IN_FLIGHT = 256
AT_ONCE = 2_000  # records taken from the client at a time
HEADERS = {"Authorization": "Bearer token", "Content-Type": "application/json"}
OK = 200
RETRY_SECONDS = 0.1
_FRAMING_BYTES = 5


@dataclass(frozen=True)
class Settings:
    """From the environment, as such a worker would have them. `events` is where the topic ends."""

    brokers: str = os.environ["BENCH_BROKERS"]
    topic: str = os.environ["BENCH_TOPIC"]
    group: str = os.environ["BENCH_GROUP"]
    url: str = os.environ["BENCH_URL"] + "/attributes/custom"
    window_seconds: float = float(os.environ["BENCH_WINDOW_SECONDS"])
    events: int = int(os.environ["BENCH_EVENTS"])
    schema: str = os.environ["BENCH_SCHEMA"]


settings = Settings()
_schema = fastavro.parse_schema(json.loads(Path(settings.schema).read_text()))


def decode(value: bytes) -> tuple[str, dict[str, Any]]:
    """Whose change it is, and the attributes that it sets."""
    event: Any = fastavro.schemaless_reader(io.BytesIO(value[_FRAMING_BYTES:]), _schema, None)
    return event["user"]["phone"], event["attributes"]


def body(phone: str, attributes: dict[str, Any]) -> bytes:
    """A call's body."""
    return json.dumps({"user": {"phone": phone}, "properties": attributes}).encode()


def say(what: str) -> None:
    """Tells the bench what has come about, and when."""
    print(what, time.time(), flush=True)


def done() -> None:
    """Tells the bench that all is done, and waits to be ended by it: until then it looks at this process's CPU time."""
    say("done")
    signal.pause()


class Window:
    """The changes of each user since the last flush. At the topic's end it does not wait for the rest of its time."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self._seen = 0
        self._opened = 0.0

    def add(self, value: bytes) -> None:
        """Takes one event in."""
        if not self.users:
            self._opened = time.monotonic()
        phone, attributes = decode(value)
        known = self.users.get(phone)
        if known is None:
            self.users[phone] = attributes
        else:
            known.update(attributes)
        self._seen += 1

    @property
    def at_the_end(self) -> bool:
        """Whether everything was taken in."""
        return self._seen >= settings.events

    @property
    def due(self) -> bool:
        """Whether it is time to send."""
        old = time.monotonic() - self._opened >= settings.window_seconds
        return bool(self.users) and (old or self.at_the_end)

    def take(self) -> dict[str, dict[str, Any]]:
        """What is to be sent; begins anew."""
        users, self.users = self.users, {}
        return users
