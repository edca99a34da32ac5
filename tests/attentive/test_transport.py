from __future__ import annotations

import asyncio
import gc
import inspect
import select
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

import worker.attentive
from tests.attentive import scripted
from tests.attentive.scripted import OK, answering, closes_early, never_answers, serving
from worker.attentive.connection import Connection
from worker.attentive.message import (
    Answer,
    Broken,
    Fenced,
    Message,
    NoAnswer,
    Unanswered,
)
from worker.attentive.transport import Transport, failure_of
from worker.core.model import Failure


def of_httpx() -> list[type[BaseException]]:
    exported = (getattr(httpx, name) for name in httpx.__all__)
    return [kind for kind in exported if inspect.isclass(kind) and issubclass(kind, BaseException)]


@pytest.mark.parametrize("kind", of_httpx(), ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_is_a_failure(kind: type[BaseException]) -> None:
    assert failure_of(kind.__new__(kind)) is not None


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Fenced(), Failure.ABORTED),
        (httpx.ConnectTimeout(""), Failure.TIMEOUT),
        (httpx.ReadTimeout(""), Failure.TIMEOUT),
        (httpx.PoolTimeout(""), Failure.TIMEOUT),
        (httpx.ConnectError(""), Failure.CONNECT),
        (httpx.ProxyError(""), Failure.CONNECT),
        (httpx.UnsupportedProtocol(""), Failure.CONNECT),
        (httpx.InvalidURL(""), Failure.CONNECT),
        (httpx.RemoteProtocolError(""), Failure.BROKEN),
        (httpx.ReadError(""), Failure.BROKEN),
        (httpx.WriteError(""), Failure.BROKEN),
        (LookupError(), None),
        (ssl.SSLError(), None),
        (OSError(), None),
        (TimeoutError(), None),
        (NoAnswer(), None),
        (asyncio.CancelledError(), None),
        (SystemExit(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_failure_tree(error: BaseException, failure: Failure | None) -> None:
    assert failure_of(error) is failure


def test_one_file_imports_httpx() -> None:
    folder = Path(str(worker.attentive.__file__)).parent
    knowing = [path.name for path in folder.glob("*.py") if "import httpx" in path.read_text(encoding="utf-8")]
    assert knowing == ["transport.py"]


def by_client(act: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(transport=Transport(asyncio.get_running_loop(), age_max_seconds=300)) as client:
            await act(client)

    asyncio.run(run())


def test_a_client_of_httpx_can_use_it() -> None:
    reply = b"HTTP/1.1 201 Made\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 2\r\n\r\n{}"

    async def act(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            response = await client.post(f"{server.base_url}/users?x=1", json={"a": 1})
            assert (response.status_code, response.json()) == (201, {})
            assert response.headers["x-one"] == "1, 2"

    with serving(answering(reply)) as server:
        by_client(act)
        assert len(server.connections) == 1
        assert [received.line for received in server.requests] == ["POST /v1/users?x=1 HTTP/1.1"] * 2
        assert server.requests[0].body == b'{"a":1}'


def test_errors_are_those_of_httpx() -> None:
    async def act(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadError, match="before its answer"):
            await client.get(server.base_url)
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")
        with pytest.raises(httpx.LocalProtocolError):
            await client.get(kept.base_url, headers={"X-Bad": "a\nb"})
        assert (await client.get(kept.base_url)).status_code == 200
        soon = asyncio.get_running_loop().time() + 0.1
        with pytest.raises(httpx.ReadTimeout):
            await client.get(silent.base_url, extensions={"deadline": soon})

    with serving(closes_early) as server, serving(answering(OK)) as kept, serving(never_answers) as silent:
        by_client(act)


def exchanged(message: Message) -> Answer | Unanswered:
    async def run() -> Answer | Unanswered:
        transport = Transport(asyncio.get_running_loop(), age_max_seconds=300)
        try:
            return await transport.exchange(message, deadline=None, may_send=lambda: True)
        finally:
            await transport.aclose()

    return asyncio.run(run())


def test_message_and_answer() -> None:
    reply = b"HTTP/1.1 429 Slow\r\nX-A: \xe9\r\nx-a: b\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}"
    with serving(answering(reply)) as server:
        message = Message("GET", f"{server.base_url}/me", (("Accept", "application/json"),))
        assert exchanged(message) == Answer(429, {"x-a": "é, b", "retry-after": "7", "content-length": "2"}, b"{}")
        [received] = server.requests
        assert received.headers == {"host": f"127.0.0.1:{server.port}", "accept": "application/json"}


def test_what_is_said_before_the_request_answers_it_not() -> None:
    """Right after the connection is made: only there the loop cannot have told of it."""

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(loop), server.host, server.port)
        assert select.select([connection.transport.get_extra_info("socket")], [], [], 5)[0]
        with pytest.raises(Broken, match="before it was asked"):
            await connection.begin(b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", lambda: None)
        assert not connection.is_open

    def script(served: scripted.Connection) -> None:
        served.send(OK)
        served.receive()

    with serving(script) as server:
        asyncio.run(ask())
    assert not server.requests


def test_what_came_while_the_loop_slept_sends_the_call_to_a_new_connection() -> None:
    """A process that was stopped: the loop has not told of the left-over, or of the end, when the next call comes."""
    told, sent = threading.Event(), threading.Event()

    async def ask() -> list[Answer | Unanswered]:
        transport = Transport(asyncio.get_running_loop(), age_max_seconds=300)
        message = Message("GET", server.base_url, ())
        first = await transport.exchange(message, deadline=None, may_send=lambda: True)
        told.set()
        sent.wait(5)  # in the loop's own thread
        second = await transport.exchange(message, deadline=None, may_send=lambda: True)
        await transport.aclose()
        return [first, second]

    def script(served: scripted.Connection) -> None:
        served.receive()
        if len(server.connections) == 2:
            return served.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        served.send(OK)
        told.wait(5)
        served.send(OK)
        return sent.set()

    with serving(script) as server:
        assert [came.status for came in asyncio.run(ask()) if isinstance(came, Answer)] == [200, 503]


def test_connections_that_ended_are_not_held() -> None:
    """Not even until the garbage collector finds a circle: it runs seldom in the worker."""
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    async def held() -> int:
        transport = Transport(asyncio.get_running_loop(), age_max_seconds=300)
        for _ in range(40):
            await transport.exchange(Message("GET", server.base_url, ()), deadline=None, may_send=lambda: True)
        await asyncio.sleep(0)
        count = sum(isinstance(one, Connection) for one in gc.get_objects())
        await transport.aclose()
        return count

    gc.collect()
    gc.disable()
    try:
        with serving(answering(closing)) as server:
            assert asyncio.run(held()) <= 2
    finally:
        gc.enable()
