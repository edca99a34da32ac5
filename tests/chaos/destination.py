"""The destination of a chaos run: it applies what it is sent, records each request, and fails on order.

It runs in the test's own process, beside the proxies, so that one clock times everything. Each worker process has its
own token, so the record shows who sent what.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

DELAY_SECONDS = 0.04
"""Every request takes at least this long. Else two requests for one user could pass too fast to be seen together."""

HANG_SECONDS = 20.0  # longer than any worker waits

_REASONS = {200: "OK", 401: "Unauthorized", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Unavailable"}


@dataclass(slots=True)
class Exchange:
    """One request that arrived complete.

    Attributes:
        at: epoch seconds when its last byte was read.
        life: the worker process that sent it.
        user: the phone it names.
        properties: what it sets; `version` is always among them.
        status: the status of the answer; None if there was no answer.
        applied: whether the change was applied, whether or not the answer says so.
        ended_at: epoch seconds when the answer was written or the client had left; None while in flight.
    """

    at: float
    life: str
    user: str
    properties: dict[str, object]
    status: int | None = None
    applied: bool = False
    ended_at: float | None = None

    @property
    def version(self) -> int:
        version = self.properties["version"]
        assert isinstance(version, int)
        return version


@dataclass(slots=True)
class Weather:
    """The destination's faults now. Numbers are the share of requests that meet the fault, from 0 to 1."""

    errors: float = 0.0
    outage: bool = False
    throttled: float = 0.0
    retry_after: bool = False
    hangs: float = 0.0
    lost_replies: float = 0.0


@dataclass(slots=True)
class Destination:
    """The destination. Call its methods in the event loop's thread only; read `exchanges` when the run is over.

    A token is `<name>.<life>.<generation>`. A request with another generation than the present one is answered 401.
    """

    seed: int
    weather: Weather = field(default_factory=Weather)
    generation: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    state: dict[str, dict[str, object]] = field(default_factory=dict)
    unauthorized: int = 0
    port: int = 0
    _dice: random.Random = field(init=False)
    _server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = [line.partition(":") for line in head.split("\r\n")[1:]]
                headers = {name.lower(): value.strip() for name, _, value in lines}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if not await self._exchange(headers["authorization"], json.loads(body), reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(
        self, authorization: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answers one request; whether the connection may be used again."""
        _, life, generation = authorization.removeprefix("Bearer ").split(".")
        exchange = Exchange(time.time(), life, body["user"]["phone"], body["properties"])
        self.exchanges.append(exchange)
        status = self._status(int(generation))
        if status == 200:
            exchange.applied = True
            self.state.setdefault(exchange.user, {}).update(exchange.properties)
        self.unauthorized += status == 401
        hangs = self._meets(self.weather.hangs)
        loses = self._meets(self.weather.lost_replies)
        try:
            if not await _stays(reader, HANG_SECONDS if hangs else DELAY_SECONDS) or hangs or loses:
                return False
            # Recorded before the answer is written: once the client has the answer, it may send this user's next call.
            exchange.status, exchange.ended_at = status, time.time()
            writer.write(self._answer(status))
            await writer.drain()
            return True
        finally:
            exchange.ended_at = exchange.ended_at or time.time()

    def _status(self, generation: int) -> int:
        weather = self.weather
        if generation != self.generation:
            return 401
        if weather.outage:
            return 503
        if self._meets(weather.throttled):
            return 429
        return 500 if self._meets(weather.errors) else 200

    def _meets(self, share: float) -> bool:
        return share > 0 and self._dice.random() < share

    def _answer(self, status: int) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "content-length: 0"]
        if status == 429 and self.weather.retry_after:
            lines.append("retry-after: 1")
        return "\r\n".join([*lines, "", ""]).encode()


async def _stays(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Waits for `seconds`. Returns False as soon as the client has closed the connection."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False
