"""The destination of a chaos run: it applies what it is sent, records each request, and fails on order.

It runs in the test's own process, beside the proxies, so that one clock times everything. Each worker process has its
own token, so the record shows who sent what.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from tests.chaos.cast import ENUMERATIONS, FIRST, NOBODY, Cast
from worker.sandbox.account import Account
from worker.sandbox.upsert import RefusedError, read_upsert

DELAY_SECONDS = 0.04
"""Every request takes at least this long. Else two requests for one user could pass too fast to be seen together."""

HANG_SECONDS = 20.0  # longer than any worker waits

_PAGE = "<html><body>Request blocked</body></html>"
_PAGE_STATUSES = (200, 302, 403, 404, 502)


@dataclass(slots=True)
class Exchange:
    """One request that arrived complete.

    Attributes:
        at: epoch seconds when its last byte was read.
        life: the worker process that sent it.
        user: the phone it names.
        properties: what it sets.
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
    def acknowledged(self) -> bool:
        """Whether it was applied and the answer says so. A web page may have the status 200, too."""
        return self.applied and self.status == HTTPStatus.OK


@dataclass(slots=True)
class Weather:
    """The destination's faults now. Numbers are the share of requests that meet the fault, from 0 to 1.

    `poison`: the users that the cast lists `at_times` with one of these are answered so now.
    """

    errors: float = 0.0
    outage: float = 0.0
    throttled: float = 0.0
    unavailable: float = 0.0
    pages: float = 0.0
    hangs: float = 0.0
    lost_replies: float = 0.0
    poison: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def encoded(self) -> bytes:
        body = self.body.encode()
        headers = {**self.headers, "content-length": str(len(body))}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Destination:
    """The destination. Call its methods in the event loop's thread only; read `exchanges` when the run is over.

    A token is `<name>.<life>.<generation>`. A request with another generation than the present one is answered 401.
    """

    seed: int
    cast: Cast
    weather: Weather = field(default_factory=Weather)
    generation: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    state: dict[str, dict[str, object]] = field(default_factory=dict)
    unauthorized: int = 0
    port: int = 0
    _account: Account = field(default_factory=lambda: Account(ENUMERATIONS))
    _dice: random.Random = field(init=False)
    _server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        # The first value of a name fixes its type for all.
        self._account.apply(read_upsert(json.dumps({"user": {"phone": NOBODY}, "properties": FIRST}).encode()))

    def heal(self) -> None:
        """Nobody's calls fail any more."""
        self.cast = replace(self.cast, always={})

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
                if not await self._exchange(headers["authorization"], body, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(
        self, authorization: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answers one request; whether the connection may be used again."""
        _, life, generation = authorization.removeprefix("Bearer ").split(".")
        asked = json.loads(body)
        exchange = Exchange(time.time(), life, asked["user"]["phone"], asked["properties"])
        self.exchanges.append(exchange)
        answer = self._failure(exchange.user, int(generation)) or self._set(exchange, body)
        self.unauthorized += answer.status == HTTPStatus.UNAUTHORIZED
        hangs = self._meets(self.weather.hangs)
        loses = self._meets(self.weather.lost_replies)
        try:
            if not await _stays(reader, HANG_SECONDS if hangs else DELAY_SECONDS) or hangs or loses:
                return False
            # Recorded before the answer is written: once the client has the answer, it may send this user's next call.
            exchange.status, exchange.ended_at = answer.status, time.time()
            writer.write(answer.encoded())
            await writer.drain()
            return True
        finally:
            exchange.ended_at = exchange.ended_at or time.time()

    def _failure(self, user: str, generation: int) -> _Answer | None:
        """The answer of a destination that does not even look at what the request sets; None if it looks."""
        if generation != self.generation:
            return _Answer(401)
        weather = self.weather
        faults: Sequence[tuple[float, Callable[[], _Answer]]] = (
            (weather.outage, lambda: _Answer(503)),
            (weather.pages, lambda: _page(self._dice.choice(_PAGE_STATUSES))),
            (weather.unavailable, lambda: _Answer(503, self._retry_after())),
            (weather.throttled, lambda: _Answer(429, self._retry_after() if self._meets(0.3) else {})),
            (weather.errors, lambda: _Answer(500)),
        )
        for share, answer in faults:
            if self._meets(share):
                return answer()
        return self._poison(user)

    def _poison(self, user: str) -> _Answer | None:
        status = self.cast.always.get(user)
        if status is None and self.cast.at_times.get(user) in self.weather.poison:
            status = self.cast.at_times[user]
        if status == HTTPStatus.FORBIDDEN and self._meets(0.5):
            return _page(status)
        if status == HTTPStatus.TOO_MANY_REQUESTS and self._meets(0.3):
            return _Answer(status, self._retry_after())
        return None if status is None else _Answer(status)

    def _set(self, exchange: Exchange, body: bytes) -> _Answer:
        """Sets what the request says, or refuses it as a whole. The answer says why, or says little, or nothing."""
        refusal = self._refusal(exchange.user, body)
        if refusal is None:
            exchange.applied = True
            self.state.setdefault(exchange.user, {}).update(exchange.properties)
            return _Answer(200)
        message = self._dice.choice((refusal, "Invalid request", None))
        json_headers = {"content-type": "application/json"}
        return _Answer(400) if message is None else _Answer(400, json_headers, json.dumps({"message": message}))

    def _refusal(self, user: str, body: bytes) -> str | None:
        """Why the request is refused; None if it is not. Then its values fix the types of new names."""
        try:
            upsert = read_upsert(body)
            if user in self.cast.refused:
                return "'phone' is not a number that can be reached"
            self._account.apply(upsert)
        except RefusedError as refusal:
            return str(refusal)
        return None

    def _retry_after(self) -> dict[str, str]:
        return {"retry-after": self._dice.choice(("1", "2"))}

    def _meets(self, share: float) -> bool:
        return share > 0 and self._dice.random() < share


def _page(status: int) -> _Answer:
    return _Answer(status, {"content-type": "text/html"}, _PAGE)


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
