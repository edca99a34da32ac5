"""Each kind of no connection is told by its own words, without a secret."""

from __future__ import annotations

import datetime as dt
import errno
import os
import socket
from pathlib import Path

import pytest

from tests.attentive.calling import PHONE, TOKEN, call, outcome, running
from tests.attentive.certificates import DAY, Authority
from tests.attentive.scripted import OK, Connection, Script, answering, closes_early, resets, serving
from worker.attentive.account import Problem, whoami
from worker.attentive.token import Token
from worker.core.delivery.verdict import in_words
from worker.core.model import Failure, Reply


def reply_from(base_url: str, timeout_seconds: float = 5) -> Reply:
    """What a call came to; `check` is told the same."""
    with running(base_url) as senders:
        reply = outcome(senders, call(timeout_seconds=timeout_seconds))
    problem = whoami(base_url, Token.given(TOKEN), timeout_seconds, user_agent="worker/0")
    assert isinstance(problem, Problem)
    assert problem.what == in_words(reply)
    for secret in (TOKEN, PHONE, "gold"):
        assert secret not in reply.cause
    return reply


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (socket.EAI_NONAME, "no connection: the name api.test does not exist"),
        (socket.EAI_AGAIN, "no connection: the name api.test cannot be looked up at the moment"),
    ],
)
def test_name_that_is_not_found(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_arguments: object, **_options: object) -> list[object]:
        raise socket.gaierror(number, "")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    reply = reply_from("http://api.test/v1")
    assert reply.failure is Failure.CONNECT
    assert in_words(reply) == words


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reply = reply_from(f"http://127.0.0.1:{port}")
    assert in_words(reply) == f"no connection: 127.0.0.1:{port} refused the connection"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENETUNREACH, "no route to 127.0.0.1:9"),
        (errno.EHOSTUNREACH, "no route to 127.0.0.1:9"),
        (errno.ETIMEDOUT, "127.0.0.1:9 did not answer"),
        (errno.EMFILE, f"127.0.0.1:9: {os.strerror(errno.EMFILE)}"),
    ],
)
def test_no_route_and_the_like(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_self: socket.socket, _address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert in_words(reply_from("http://127.0.0.1:9")) == f"no connection: {words}"


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EAFNOSUPPORT])
def test_an_address_without_a_route_hides_not_what_the_other_met(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine or a kernel without IPv6: the name's first address cannot be reached at all."""
    unreachable = ("127.0.0.2", 9)

    def connect(_self: socket.socket, address: object) -> None:
        raise OSError(number if address == unreachable else errno.ECONNREFUSED, "")

    def resolve(*_arguments: object, **_options: object) -> list[object]:
        addresses = (unreachable, ("127.0.0.1", 9))
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert in_words(reply_from("http://api.test:9")) == "no connection: api.test:9 refused the connection"


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "api..test"])
def test_what_is_no_host_name(host: str) -> None:
    assert in_words(reply_from(f"http://{host}")) == f"no connection: {host} is not a valid host name"


def test_timed_out_while_it_connects() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        reply = reply_from(f"http://127.0.0.1:{port}", 0.2)
        for filler in fillers:
            filler.close()
    assert reply.failure is Failure.TIMEOUT
    assert in_words(reply) == f"no complete answer in time: still connecting to 127.0.0.1:{port}"


def test_timed_out_in_the_handshake_and_after_it() -> None:
    with serving(Connection.hold) as server:
        reply = reply_from(f"https://127.0.0.1:{server.port}", 0.2)
        assert in_words(reply) == "no complete answer in time: still waiting for the TLS handshake with 127.0.0.1"
        reply = reply_from(server.base_url, 0.2)
        assert in_words(reply) == "no complete answer in time: no answer began"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (closes_early, "the connection broke: the other side closed the connection before its answer"),
        (resets, "the connection broke: the connection was reset"),
        (answering(b"SSH-2.0-OpenSSH secret-token-4711\r\n\r\n"), "the connection broke: what came is not HTTP/1.1"),
    ],
)
def test_broken_connections(script: Script, words: str) -> None:
    with serving(script) as server:
        assert in_words(reply_from(server.base_url)) == words


@pytest.mark.parametrize(
    ("names", "valid", "trusted", "words"),
    [
        (("127.0.0.1",), (-DAY, DAY), False, "the certificate of 127.0.0.1 is from an unknown authority"),
        (("127.0.0.1",), (-2 * DAY, -DAY), True, "the certificate of 127.0.0.1 has expired"),
        (("127.0.0.1",), (DAY, 2 * DAY), True, "the certificate of 127.0.0.1 is not yet valid"),
        (("127.0.0.2",), (-DAY, DAY), True, "the certificate of 127.0.0.1 is for another address"),
    ],
)
def test_certificates(
    names: tuple[str, ...],
    valid: tuple[dt.timedelta, dt.timedelta],
    trusted: bool,  # noqa: FBT001 - a row of the table
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str((authority if trusted else other).trust()))
    with serving(authority.serves(answering(OK), names, valid)) as server:
        reply = reply_from(f"https://127.0.0.1:{server.port}")
        assert reply.failure is Failure.CONNECT
        assert in_words(reply) == f"no connection: {words}"
        assert not server.requests


def test_certificate_of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    with serving(authority.serves(answering(OK), ("api.test",))) as server:
        reply = reply_from(f"https://localhost:{server.port}")
    assert in_words(reply) == "no connection: the certificate of localhost is for another host name"


def test_what_is_no_tls() -> None:
    with serving(answering(OK)) as server:  # it waits for a request that never ends
        reply = reply_from(f"https://127.0.0.1:{server.port}", 0.2)
        assert reply.failure is Failure.TIMEOUT

    def refuses(connection: Connection) -> None:
        connection.socket.recv(1000)
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(refuses) as server:
        reply = reply_from(f"https://127.0.0.1:{server.port}")
        assert in_words(reply).startswith("no connection: TLS with 127.0.0.1 failed: ")

    def leaves(connection: Connection) -> None:
        connection.socket.recv(1000)

    with serving(leaves) as server:
        reply = reply_from(f"https://127.0.0.1:{server.port}")
        assert in_words(reply) == "no connection: 127.0.0.1 closed the connection during the TLS handshake"
