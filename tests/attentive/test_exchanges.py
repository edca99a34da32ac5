"""What a destination can do to a request, at the level of the socket."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attentive.calling import (
    PATIENCE_SECONDS,
    PHONE,
    TIMEOUT_SECONDS,
    TOKEN,
    call,
    drained,
    outcome,
    running,
)
from tests.attentive.scripted import (
    OK,
    Connection,
    Script,
    answering,
    closes_early,
    is_not_http,
    never_answers,
    resets,
    serving,
)
from worker.attentive.token import Token
from worker.core.model import Failure, Reply


def test_request_as_attentive_takes_it() -> None:
    with serving(answering(OK)) as server, running(server.base_url + "/") as senders:
        assert outcome(senders, call()).status == 200
    [received] = server.requests
    assert received.line == "POST /v1/attributes/custom HTTP/1.1"
    assert json.loads(received.body) == {"properties": {"tier": "gold"}, "user": {"phone": PHONE}}
    assert received.headers["authorization"] == f"Bearer {TOKEN}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["user-agent"] == "worker/0"


def test_connection_and_only_the_connection_is_kept() -> None:
    """Cookies of one reply are not sent with the next request."""
    reply = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    with serving(answering(reply)) as server, running(server.base_url) as senders:
        for number in range(3):
            assert outcome(senders, call(number)).status == 200
        assert len(server.connections) == 1
        assert not any("cookie" in received.headers for received in server.requests)


def drips_headers(connection: Connection) -> None:
    connection.receive()
    connection.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000, 0.05)


def informs_forever(connection: Connection) -> None:
    connection.receive()
    connection.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.001)


def closes_in_headers(connection: Connection) -> None:
    connection.receive()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")


def sends_endless_headers(connection: Connection) -> None:
    connection.receive()
    while True:
        connection.send(b"HTTP/1.1 200 OK\r\n" + b"X-More: " + b"x" * 65536)


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (never_answers, Failure.TIMEOUT),
        (drips_headers, Failure.TIMEOUT),
        (informs_forever, Failure.TIMEOUT),
        (resets, Failure.BROKEN),
        (closes_early, Failure.BROKEN),
        (closes_in_headers, Failure.BROKEN),
        (is_not_http, Failure.BROKEN),
        (sends_endless_headers, Failure.BROKEN),
    ],
)
def test_no_reply_is_a_failure_in_time_and_the_next_call_has_a_new_connection(script: Script, failure: Failure) -> None:
    def first_bad(connection: Connection) -> None:
        (script if len(server.connections) == 1 else answering(OK))(connection)

    with serving(first_bad) as server, running(server.base_url, concurrency=1) as senders:
        reply = outcome(senders, call())
        assert (reply.status, reply.failure) == (None, failure)
        assert reply.seconds < TIMEOUT_SECONDS + 0.5
        assert outcome(senders, call()).status == 200


def test_huge_body_is_cut_and_its_connection_dropped() -> None:
    def script(connection: Connection) -> None:
        while connection.receive() is not None:
            connection.send(b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        for _ in range(2):
            reply = outcome(senders, call(timeout_seconds=5))
            assert (reply.status, reply.body) == (400, "x" * 65536)
        assert len(server.connections) == 2
    assert all(connection.sent_bytes < 32 * 1024 * 1024 for connection in server.connections)


def test_redirect_is_not_followed() -> None:
    with serving(answering(OK)) as elsewhere:
        redirect = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.base_url}\r\nContent-Length: 0\r\n\r\n".encode()
        with serving(answering(redirect)) as server, running(server.base_url) as senders:
            assert outcome(senders, call()).status == 307
        assert not elsewhere.connections


def test_redirect_that_repeats_token_or_value_is_told_without_them() -> None:
    redirect = b"HTTP/1.1 302 Go\r\nLocation: /login/hushhush/gold/page\r\nContent-Length: 0\r\n\r\n"
    with serving(answering(redirect)) as server, running(server.base_url, Token.given("HushHush")) as senders:
        assert outcome(senders, call()).cause == "which points to another path, /login/…/…/page"


def test_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    head = f"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with serving(answering(head + bomb)) as server, running(server.base_url) as senders:
        reply = outcome(senders, call())
        assert reply.status == 400
        assert len(reply.body) < 100


def test_connection_that_closed_while_idle_is_not_used_again() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(OK)

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        for number in range(5):
            reply = outcome(senders, call(number))
            assert reply.status == 200
            server.connections[-1].socket.close()  # if the script's end has not yet


def test_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running(f"http://127.0.0.1:{port}") as senders:
        assert outcome(senders, call()).failure is Failure.CONNECT


def test_host_name_that_idna_cannot_express() -> None:
    with running("http://" + "a" * 70 + ".localhost") as senders:
        assert outcome(senders, call()).failure is Failure.CONNECT


def test_name_resolution_that_hangs_holds_up_neither_the_reply_nor_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = threading.Event()

    def hang(*_arguments: object, **_options: object) -> list[object]:
        resolved.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        started = time.monotonic()
        with running("http://somewhere.test/v1") as senders:
            assert outcome(senders, call()).failure is Failure.TIMEOUT
        assert time.monotonic() - started < 2
    finally:
        resolved.set()


def test_listener_that_never_accepts() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        running(f"http://127.0.0.1:{listener.getsockname()[1]}", concurrency=6) as senders,
    ):
        for number in range(6):
            senders.submit(call(number))
        replies = drained(senders, 6)
    assert {reply.failure for _, reply in replies} == {Failure.TIMEOUT}


def test_tls_handshake_that_stalls_or_is_none() -> None:
    with serving(Connection.hold) as server, running(f"https://127.0.0.1:{server.port}") as senders:
        assert outcome(senders, call()).failure is Failure.TIMEOUT
    with (
        serving(lambda connection: connection.send(b"no TLS here")) as server,
        running(f"https://127.0.0.1:{server.port}") as senders,
    ):
        assert outcome(senders, call()).failure is Failure.CONNECT


def test_socket_of_a_cancelled_tls_handshake_is_closed() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        while connection.socket.recv(65536):
            pass
        closed.set()

    with serving(script) as server, running(f"https://127.0.0.1:{server.port}") as senders:
        assert outcome(senders, call()).failure is Failure.TIMEOUT
        assert closed.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def echo() -> Iterator[Callable[[bytes], Reply]]:
    """What a worker makes of a server that answers with these bytes and closes."""
    contents: list[bytes] = []

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(contents[-1])

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:

        def reply(content: bytes) -> Reply:
            contents.append(content)
            return outcome(senders, call())

        yield reply


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda status, lines, body: b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body,
        st.sampled_from([b"200 OK", b"404", b"101 Switch", b"999 x", b"304 -", b"204 \xff"]),
        st.lists(
            st.builds(
                lambda name, value: name + b": " + value,
                st.sampled_from([b"Retry-After", b"Date", b"Content-Type", b"Content-Encoding", b"Transfer-Encoding"]),
                st.sampled_from([b"chunked", b"gzip", b"-1", b"1e309", b"text/html; charset=none", b"\xff\x80"])
                | st.binary(max_size=20),
            ),
            max_size=4,
        ),
        st.binary(max_size=50),
    )
)
def test_whatever_a_server_writes_is_a_reply(echo: Callable[[bytes], Reply], content: bytes) -> None:
    reply = echo(content)
    assert (reply.status is None) == (reply.failure is not None)
