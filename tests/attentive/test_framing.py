"""Where an answer ends, and that it belongs to its request (RFC 9112, 6.3 and 8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import tracemalloc
from pathlib import Path

import pytest

from tests.attentive.calling import PATIENCE_SECONDS, TIMEOUT_SECONDS, call, drained, outcome, running, until_received
from tests.attentive.certificates import Authority
from tests.attentive.scripted import OK, Connection, Script, answering, serving
from worker.attentive.connection import PIECE_BYTES
from worker.attentive.message import BODY_BYTES_MAX, Message
from worker.attentive.transport import Transport
from worker.core.model import Failure, Reply

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def only(content: bytes) -> Script:
    """Answers one request with these bytes and closes."""

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(content)

    return script


def answer_of(script: Script, timeout_seconds: float = TIMEOUT_SECONDS) -> Reply:
    with serving(script) as server, running(server.base_url) as senders:
        return outcome(senders, call(timeout_seconds=timeout_seconds))


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n12345678",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 64\r\n\r\n",
        _CHUNKED,
        _CHUNKED + b"5\r\nab",
        _CHUNKED + b"2\r\nab\r\n",
        _CHUNKED + b"2\r\nab\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"",
    ],
)
def test_incomplete_answer_is_none(content: bytes) -> None:
    reply = answer_of(only(content))
    assert (reply.status, reply.failure) == (None, Failure.BROKEN)
    assert "closed the connection" in reply.cause


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_body_that_drips_past_the_deadline_is_no_answer(head: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(head)
        connection.drip(b"x" * 900, 0.05)

    reply = answer_of(script)
    assert (reply.status, reply.failure) == (None, Failure.TIMEOUT)
    assert reply.cause == "the answer began and did not end"
    assert TIMEOUT_SECONDS <= reply.seconds < TIMEOUT_SECONDS + 0.5


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        _CHUNKED + b"FFFFFFF\r\n",
    ],
)
def test_answer_longer_than_is_read_is_an_answer(head: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(head + b"x" * BODY_BYTES_MAX)
        connection.hold()

    reply = answer_of(script)
    assert (reply.status, len(reply.body)) == (200, BODY_BYTES_MAX)


@pytest.mark.parametrize(
    ("content", "status", "body", "is_kept"),
    [
        (OK, 200, "", True),
        (_CHUNKED + b"2;extension=1\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n", 200, "{}", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK, 200, "", True),
        (b"HTTP/1.1 204 Done\r\n\r\n", 204, "", True),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, "", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}", 200, "{}", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", False),
        (_TWO_LENGTHS, 200, "{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", False),
        (OK + b"x", 200, "", False),
        (OK + _BUSY, 200, "", False),
        (_CHUNKED + b"0\r\n\r\nmore", 200, "", False),
    ],
    ids=range(12),
)
def test_connection_is_kept_where_nothing_is_left_on_it(
    content: bytes,
    status: int,
    body: str,
    is_kept: bool,  # noqa: FBT001 - a row of the table
) -> None:
    with serving(answering(content)) as server, running(server.base_url, concurrency=1) as senders:
        for number in range(2):
            reply = outcome(senders, call(number))
            assert (reply.status, reply.body) == (status, body)
        assert len(server.connections) == (1 if is_kept else 2)


@pytest.mark.parametrize("is_tls", [False, True])
def test_answer_that_is_read_in_several_pieces_is_whole(
    is_tls: bool,  # noqa: FBT001 - a row of the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the edges of what is read at once, too."""
    authority, sizes = Authority(tmp_path), iter((1, 16_000, 16_384, 32_768, 50_000, 2))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    sent: list[str] = []

    def script(connection: Connection) -> None:
        while connection.receive():
            whole = next(sizes)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %05d\r\n\r\n"
            body = "".join(chr(97 + place * place % 23) for place in range(max(2, whole - len(head % 0))))
            sent.append(body)
            content = head % len(body) + body.encode()
            for start in range(0, len(content), 3_000):  # each is a record of TLS, and several are read at once
                connection.send(content[start : start + 3_000])

    served = authority.serves(script) if is_tls else script
    with serving(served) as server:
        base_url = f"https://127.0.0.1:{server.port}/v1" if is_tls else server.base_url
        with running(base_url, concurrency=1) as senders:
            assert [outcome(senders, call(number, PATIENCE_SECONDS)).body for number in range(6)] == sent
        assert len(server.connections) == 1


def test_reading_an_answer_takes_little_memory() -> None:
    """What asyncio takes for it by itself is 256 KiB, and to make that costs more than to write and read a call."""
    with serving(answering(OK)) as server, running(server.base_url, concurrency=1) as senders:
        outcome(senders, call(1, PATIENCE_SECONDS))
        tracemalloc.start()
        try:
            assert outcome(senders, call(2, PATIENCE_SECONDS)).status == 200
            assert tracemalloc.get_traced_memory()[1] < 200 * 1024
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_answer_without_a_length_ends_with_its_connection(head: bytes) -> None:
    reply = answer_of(only(head + b"{}"))
    assert (reply.status, reply.body) == (200, "{}")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: 2, 3",
        b"Content-Length: -2",
        b"Content-Length: +2",
        b"Content-Length: 2 3",
        b"Content-Length: 0x2",
        b"Content-Length: " + b"9" * 40,
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"No colon",
        b"Space : before",
        b"X-Bomb: " + b"x" * 300_000,
        b"\r\n".join(b"X-%d: 1" % number for number in range(40_000)),
    ],
    ids=range(13),
)
def test_head_that_lies_or_never_ends_is_no_answer(head: bytes) -> None:
    reply = answer_of(only(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n{}"))
    assert (reply.status, reply.failure) == (None, Failure.BROKEN)


@pytest.mark.parametrize("size", ["", "g", "-1", "1" * 30, "1 1"])
def test_chunk_that_has_no_size_is_no_answer(size: str) -> None:
    reply = answer_of(only(_CHUNKED + size.encode() + b"\r\n{}\r\n0\r\n\r\n"))
    assert (reply.status, reply.failure) == (None, Failure.BROKEN)


def test_left_over_answer_never_answers_the_next_call() -> None:
    """A server that sends its first answer twice, then the truth: the second call must not see the left-over."""

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(OK + OK)
        while connection.receive() is not None:
            connection.send(_BUSY)

    def first_doubled(connection: Connection) -> None:
        (script if len(server.connections) == 1 else answering(_BUSY))(connection)

    with serving(first_doubled) as server, running(server.base_url, concurrency=1) as senders:
        assert [outcome(senders, call(number)).status for number in range(3)] == [200, 503, 503]
        assert len(server.connections) == 2


def test_every_answer_belongs_to_its_call_under_load() -> None:
    """Each connection now and then sends an answer twice, and then refuses: no refused call may look delivered."""
    meant: dict[int, int] = {}

    def script(connection: Connection) -> None:
        count = 0
        while (received := connection.receive()) is not None:
            count += 1
            number = json.loads(received.body)["properties"]["number"]
            meant[number] = 503 if count % 5 == 4 else 200
            connection.send({503: _BUSY, 200: OK + OK if count % 5 == 3 else OK}[meant[number]])

    came: dict[int, int | None] = {}
    with serving(script) as server, running(server.base_url, concurrency=16) as senders:
        numbers = iter(range(400))
        while len(came) < 400:
            for _ in range(senders.free):
                if (number := next(numbers, None)) is not None:
                    senders.submit(call(number, 5, {"number": number}))
            came |= {each.number: reply.status for each, reply in senders.replies(5)}
    assert came == meant
    assert len(server.connections) > 100


def test_answer_that_comes_between_two_requests_answers_neither() -> None:
    idle, spoken = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(OK)
        idle.wait(5)
        connection.send(OK)
        spoken.set()
        while connection.receive() is not None:
            connection.send(_BUSY)

    def first_talkative(connection: Connection) -> None:
        (script if len(server.connections) == 1 else answering(_BUSY))(connection)

    with serving(first_talkative) as server, running(server.base_url, concurrency=1) as senders:
        assert outcome(senders, call()).status == 200
        idle.set()
        assert spoken.wait(5)
        assert outcome(senders, call(2)).status == 503


def test_answer_before_the_request_ends_the_connection() -> None:
    """A large body may be refused before it was read. It cannot be applied before: such a 200 is a left-over."""
    answers = [b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", OK]

    def script(connection: Connection) -> None:
        connection.socket.recv(1000)
        connection.send(answers[len(server.connections) - 1])
        connection.hold()

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        large = call(timeout_seconds=5, properties={"text": "x" * 30_000_000})
        assert outcome(senders, large).status == 413
        reply = outcome(senders, large)
        assert (reply.failure, reply.cause) == (Failure.BROKEN, "the answer came before the request was written")
        assert len(server.connections) == 2


def test_a_large_request_is_not_finished_once_the_fence_falls() -> None:
    """The process was stopped while the kernel took no more: the rest of the request must not follow."""
    asked: list[int] = []
    read_on = threading.Event()

    def may_send() -> bool:
        asked.append(1)
        return len(asked) < 3

    def script(connection: Connection) -> None:
        read_on.wait(5)
        connection.receive()

    with serving(script) as server:
        from_fence = call(timeout_seconds=5, properties={"text": "x" * 30_000_000})
        with running(server.base_url, may_send=may_send) as senders:
            senders.submit(from_fence)
            [(_, reply)] = drained(senders, 1)
        read_on.set()
        assert reply.failure is Failure.ABORTED
        assert not server.requests


def mutated(rng: random.Random) -> bytes:
    """An answer of a few shapes with bytes dropped, doubled, changed or cut."""
    shapes = (
        OK + OK,
        _CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        b'HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"message": "x"}',
    )
    content = bytearray(rng.choice(shapes))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                del content[at : at + rng.randrange(1, 9)]
            case 2:
                content[at:at] = content[at : at + rng.randrange(1, 40)]
            case _:
                del content[at:]
        if not content:
            break
    return bytes(content)


@pytest.mark.slow
def test_spoilt_answers_neither_raise_nor_outlive_the_deadline() -> None:
    rng = random.Random(4711)
    contents = [mutated(rng) for _ in range(300)]
    served = iter(contents)

    def script(connection: Connection) -> None:
        while connection.receive() is not None:
            connection.send(next(served))
            if rng.random() < 0.9:
                return

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        for number in range(len(contents)):
            reply = outcome(senders, call(number, timeout_seconds=0.2))
            assert (reply.status is None) == (reply.failure is not None)
            assert reply.failure in {None, Failure.BROKEN, Failure.TIMEOUT}
            assert reply.seconds < 0.7
        until_received(senders, server, 1)


def speaks_ssh(connection: Connection) -> None:
    connection.socket.recv(1000)
    connection.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    connection.hold()


def half_closes(connection: Connection) -> None:
    connection.socket.recv(1000)
    connection.socket.shutdown(socket.SHUT_WR)
    connection.hold()


def resets_midway(connection: Connection) -> None:
    connection.socket.recv(1000)
    connection.reset()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (speaks_ssh, "what came is not HTTP/1.1"),
        (half_closes, "the other side closed the connection before its answer"),
        (resets_midway, "the connection was reset"),
    ],
)
def test_a_large_request_that_fails_midway_says_why_and_writes_no_more(
    script: Script, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs a line for each write to a socket that has failed."""
    with serving(script) as server, running(server.base_url) as senders:
        reply = outcome(senders, call(timeout_seconds=5, properties={"text": "x" * 30_000_000}))
    assert (reply.failure, reply.cause) == (Failure.BROKEN, words)
    assert not caplog.records


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_the_fence_let_pass_is_written_at_once(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destination reads slowly, and the process is stopped. When it wakes, asyncio would write what it still holds
    before anybody asks the lease: perhaps the end of the request."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    stopped, has_read = threading.Event(), threading.Event()
    asked: list[int] = []
    got: list[int] = []

    def may_send() -> bool:
        asked.append(1)
        return True

    def script(connection: Connection) -> None:
        stopped.wait(5)
        connection.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while content := connection.socket.recv(65536):
                got.append(len(content))
        has_read.set()

    async def until_stopped() -> None:
        transport, seen = Transport(asyncio.get_running_loop(), age_max_seconds=300), -1
        message = Message("POST", f"{scheme}://127.0.0.1:{server.port}", (), b"x" * 30_000_000)
        making = asyncio.create_task(transport.exchange(message, deadline=None, may_send=may_send))
        while not asked or len(asked) != seen:  # until the kernel takes no more
            seen = len(asked)
            await asyncio.sleep(0.1)
        stopped.set()
        assert has_read.wait(5)  # in the loop's own thread
        making.cancel()
        await transport.aclose()

    with serving(authority.serves(script) if scheme == "https" else script) as server:
        asyncio.run(until_stopped())
    assert sum(got) == len(asked) * PIECE_BYTES
