"""Bounds on the HTTP exchanges of the registry's client: no answer lasts for ever, and none fills the memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from httpx2 import AsyncClient, Request, Response

from worker.asides import in_daemon_thread

ANSWERS_MIB_MAX: Final = 4
"""What one question may bring, with all referenced schemas, decompressed. A registry keeps a schema as one record of
a Kafka topic: that is 1 MiB at most, unless somebody raised it."""

_QUESTION_TIMEOUTS: Final = 6
"""The longest question, in time-outs of one exchange: a schema may refer to many others."""

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """There is no whole answer, and this is why."""


class Exchanges:
    """Makes one question at a time, of one or more exchanges each. Belongs to one thread.

    An event loop, because a task can be cancelled at any await: one deadline bounds the name lookup, the connection,
    and a head or a body that drips.

    Args:
        clients: All HTTP clients that take part in a question.
        seconds: The deadline of one exchange.
    """

    def __init__(self, clients: Iterable[AsyncClient], seconds: float) -> None:
        self._clients = tuple(clients)
        self._seconds = seconds
        self._bytes_left = 0
        self._runner = asyncio.Runner(loop_factory=_Loop)
        for client in self._clients:
            # Others have made these clients. Every request of each goes through this method.
            client.send = partial(self._send, client.send)  # type: ignore[method-assign]  # see the line above

    def ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Waits for the whole answer.

        Raises:
            Unanswered: It takes too long, or is too long.
            Exception: Whatever the question raises.
        """
        return self._runner.run(self._bounded(question))

    def close(self) -> None:
        """Closes all connections."""
        self._runner.run(self._close())
        self._runner.close()

    async def _bounded(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        self._bytes_left = ANSWERS_MIB_MAX * 2**20
        return await _within(_QUESTION_TIMEOUTS * self._seconds, question)

    async def _send(
        self,
        send: Callable[..., Awaitable[Response]],
        request: Request,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> Response:
        return await _within(self._seconds, self._exchange(send, request, **{**options, "stream": True}))

    async def _exchange(
        self,
        send: Callable[..., Awaitable[Response]],
        request: Request,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> Response:
        answer = await send(request, **options)
        body = bytearray()
        try:
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > self._bytes_left:
                    raise Unanswered(f"it answers more than {ANSWERS_MIB_MAX} MiB, as no schema is; check its URL")
        finally:
            await answer.aclose()
        self._bytes_left -= len(body)
        return Response(answer.status_code, content=bytes(body), request=request)

    async def _close(self) -> None:
        for client in self._clients:
            await client.aclose()


async def _within(seconds: float, work: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Unanswered(f"no whole answer within {seconds:g} s") from None


class _Loop(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the signature is asyncio's
        return await in_daemon_thread(partial(socket.getaddrinfo, *args, **options))
