"""The connections to the destination: one for each request in flight. Keeps idle ones, and uses them again."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from weakref import WeakSet

from worker.attentive.connection import Connection, RawHeaders, Received
from worker.attentive.dialing import Opening, Origin
from worker.attentive.message import Fenced, Late, LateConnection
from worker.attentive.proxies import proxy_for
from worker.attentive.trust import Trust

IDLE_SECONDS: Final = 4.0
"""How long an idle connection may be used again. Shorter than the idle time-out of any server or load balancer in use
(the shortest, 5 seconds, is uvicorn's), so that the server seldom closes a connection just as a request is written.
If it does, the request ends as `broken`, and the engine sends it again."""
CLOSE_SECONDS: Final = 1.0
"""How long `close` waits for all sockets to be closed. No other side takes part in that."""


class Pool:
    """Connections by their origin. All methods run in one event loop, except the constructor and `prove`."""

    def __init__(self, environ: Mapping[str, str], *, age_max_seconds: float) -> None:
        """Nothing is opened. A connection older than `age_max_seconds` takes no further request."""
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

    async def exchange(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: RawHeaders,
        body: bytes,
        *,
        deadline: float | None,
        may_send: Callable[[], bool],
        answer_bytes_max: int,
    ) -> Received:
        """One request and its complete answer.

        Args:
            origin: where to.
            method: such as POST.
            target: path and query.
            headers: with Host, and Content-Length where there is a body.
            body: the whole of it.
            deadline: when all of it must have ended, from the name's lookup to the body's end, by the loop's clock.
            may_send: asked right before anything of the request is written.
            answer_bytes_max: a longer body is cut there.

        Raises:
            NoAnswer: no complete answer; its subclass says why.
            Fenced: `may_send` returned False.
            ValueError: the environment's proxy or authorities cannot be used.
        """
        loop = asyncio.get_running_loop()

        def fence() -> None:
            # The race: the process is frozen, wakes past the deadline, and gets here before asyncio's time-out fires.
            if deadline is not None and loop.time() >= deadline:
                raise TimeoutError
            if not may_send():
                raise Fenced

        opening: Opening | None = None
        connection: Connection | None = None
        try:
            async with asyncio.timeout_at(deadline):
                if deadline is not None and loop.time() >= deadline:
                    raise TimeoutError  # noqa: TRY301 - handled below, like asyncio's own time-out
                connection = self._warmest(origin)
                if connection is None:
                    opening = Opening(origin, self._trust, self._environ, self._all.add)
                    connection = await opening.connection()
                received = await connection.exchange(method, target, headers, body, fence, answer_bytes_max)
                if received.status == HTTPStatus.MISDIRECTED_REQUEST:
                    self._misdirected_at = loop.time()
                return received
        except TimeoutError:
            if connection is None and opening is not None:
                raise LateConnection(f"still {opening.doing}") from None
            begun = connection is not None and connection.has_begun
            raise Late("the answer began and did not end" if begun else "no answer began") from None
        finally:
            if connection is not None and connection.is_open:
                self._idle.setdefault(origin, []).append(connection)

    def _warmest(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, [])
        now = asyncio.get_running_loop().time()
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
