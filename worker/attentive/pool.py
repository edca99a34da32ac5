"""The connections to the destination: one for each request in flight. Keeps idle ones, and uses them again."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final
from weakref import WeakSet

from worker.attentive.connection import Connection, Received
from worker.attentive.dialing import Opening, Origin
from worker.attentive.message import Fenced, Late, LateConnection
from worker.attentive.proxies import proxy_for
from worker.attentive.trust import Trust

IDLE_SECONDS: Final = 4.0
"""How long an idle connection may be used again. Shorter than the idle time-out of any server or load balancer in use
(the shortest, 5 seconds, is uvicorn's), so that the server seldom closes a connection just as a request is written.
If it does, the request ends as `broken`, and the engine sends it again."""
_NOT_BEGUN: Final = "no answer began"
CLOSE_SECONDS: Final = 1.0
"""How long `close` waits for all sockets to be closed. No other side takes part in that."""


class Pool:
    """Connections by their origin. All methods are called in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, environ: Mapping[str, str], *, age_max_seconds: float) -> None:
        """Nothing is opened. A connection older than `age_max_seconds` takes no further request."""
        self._loop = loop
        self._environ = environ
        self._age_max_seconds = age_max_seconds
        self._trust = Trust(environ)
        self._idle: dict[Origin, list[Connection]] = {}  # the most recently used one is last
        self._all: WeakSet[Connection] = WeakSet()
        self._misdirected_at = -math.inf  # the latest 421, by the loop's clock

    def prove(self, origin: Origin) -> None:
        """Checks that the environment's proxy and authorities can be used for `origin`. Connects to nothing.

        Raises:
            ValueError: they cannot be used; names the variable.
        """
        if origin.is_tls:
            proxy_for(origin.host, origin.port, self._environ)
            self._trust.context()

    def begin(
        self,
        origin: Origin,
        method: bytes,
        content: bytes,
        *,
        deadline: float | None,
        may_send: Callable[[], bool],
        answer_bytes_max: int,
    ) -> asyncio.Future[Received]:
        """Begins one request: it is written at once if a connection is idle. The future is its complete answer.

        Args:
            origin: where to.
            method: such as POST.
            content: the whole request, as `http1.written` makes it.
            deadline: when all of it must have ended, from the name's lookup to the body's end, by the loop's clock.
            may_send: asked right before anything of the request is written.
            answer_bytes_max: a longer body is cut there.

        The future's exceptions:
            NoAnswer: no complete answer; its subclass says why.
            Fenced: `may_send` returned False.
            ValueError: the environment's proxy or authorities cannot be used.
        """
        loop = self._loop

        def fence() -> None:
            # The race: the process is frozen, wakes past the deadline, and gets here before the timer does.
            if deadline is not None and loop.time() >= deadline:
                raise Late(_NOT_BEGUN)
            if not may_send():
                raise Fenced

        def over(connection: Connection) -> asyncio.Future[Received]:
            answer = connection.begin(method, content, fence, answer_bytes_max)
            timer = None if deadline is None else loop.call_at(deadline, _be_late, connection, answer)
            answer.add_done_callback(partial(self._ended, origin, connection, timer))
            return answer

        connection = self._warmest(origin)
        return loop.create_task(self._first(origin, deadline, over)) if connection is None else over(connection)

    async def _first(
        self, origin: Origin, deadline: float | None, over: Callable[[Connection], asyncio.Future[Received]]
    ) -> Received:
        """An exchange over a new connection."""
        opening = Opening(origin, self._trust, self._environ, self._all.add)
        try:
            async with asyncio.timeout_at(deadline):
                connection = await opening.connection()
        except TimeoutError:
            raise LateConnection(f"still {opening.doing}") from None
        return await over(connection)

    def _ended(
        self,
        origin: Origin,
        connection: Connection,
        timer: asyncio.TimerHandle | None,
        answer: asyncio.Future[Received],
    ) -> None:
        if timer is not None:
            timer.cancel()
        if answer.cancelled():
            connection.abort()
        elif answer.exception() is None and answer.result().status == HTTPStatus.MISDIRECTED_REQUEST:
            self._misdirected_at = self._loop.time()
        if connection.is_open:
            self._idle.setdefault(origin, []).append(connection)

    def _warmest(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, [])
        now = self._loop.time()
        while idle and idle[0].used_at < now - IDLE_SECONDS:
            idle.pop(0).abort()
        # A 421 says: not over this connection. Whoever answers the others may be no better, so the next one is new.
        opened_after = max(now - self._age_max_seconds, self._misdirected_at)
        while idle:
            connection = idle.pop()
            is_young = connection.opened_at > opened_after
            if is_young and connection.is_open and not connection.has_unread():
                return connection
            connection.abort()
        return None

    async def close(self) -> None:
        """Closes every connection, and waits until all are closed."""
        for connection in self._all:
            connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while any(not connection.is_closed for connection in self._all):  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0)
        self._idle.clear()


def _be_late(connection: Connection, answer: asyncio.Future[Received]) -> None:
    if not answer.done():
        connection.fail(Late("the answer began and did not end" if connection.has_begun else _NOT_BEGUN))
