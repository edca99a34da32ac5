from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from tests.attentive.calling import PATIENCE_SECONDS, call, outcome, running
from tests.attentive.certificates import Authority
from tests.attentive.scripted import OK, Connection, answering, serving
from worker.attentive.account import Account, whoami
from worker.attentive.token import Token
from worker.attentive.trust import Trust
from worker.core.model import Failure


def test_certificates_are_verified_against_the_named_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with serving(authority.serves(answering(OK))) as server:
        base_url = f"https://127.0.0.1:{server.port}/v1"
        with running(base_url) as senders:
            assert outcome(senders, call(timeout_seconds=5)).failure is Failure.CONNECT
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
        with running(base_url) as senders:
            assert [outcome(senders, call(number, timeout_seconds=5)).status for number in range(3)] == [200] * 3
        assert len(server.connections) == 2  # the refused one, and one for all three calls


def test_trust_file_that_is_replaced_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private authority is renewed: the file holds the new one first, and then the destination is signed by it."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    monkeypatch.setenv("SSL_CERT_FILE", str(old.trust()))
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    signed = [old.serves(answering(closing))]

    def script(connection: Connection) -> None:
        signed[-1](connection)

    with serving(script) as server, running(f"https://127.0.0.1:{server.port}/v1", concurrency=1) as senders:
        assert outcome(senders, call(1, PATIENCE_SECONDS)).status == 200
        signed.append(new.serves(answering(closing)))
        assert outcome(senders, call(2, PATIENCE_SECONDS)).failure is Failure.CONNECT
        (tmp_path / "fresh").write_bytes(new.pem)
        (tmp_path / "fresh").replace(tmp_path / "trust.pem")
        assert outcome(senders, call(3, PATIENCE_SECONDS)).status == 200


def test_trust_file_that_is_spoilt_meanwhile_leaves_the_old_one_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    path = authority.trust()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    signed = [authority.serves(answering(closing))]

    def script(connection: Connection) -> None:
        signed[-1](connection)

    with serving(script) as server, running(f"https://127.0.0.1:{server.port}/v1", concurrency=1) as senders:
        path.write_bytes(authority.pem[:40])
        assert outcome(senders, call(1, PATIENCE_SECONDS)).status == 200
        path.unlink()
        assert outcome(senders, call(2, PATIENCE_SECONDS)).status == 200
        signed.append(other.serves(answering(closing)))
        reply = outcome(senders, call(3, PATIENCE_SECONDS))
        assert reply.cause.endswith(f"SSL_CERT_FILE names {path}, which cannot be used: No such file or directory")


def test_large_request_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    text = "x" * 3_000_000
    with (
        serving(authority.serves(answering(OK))) as server,
        running(f"https://127.0.0.1:{server.port}", concurrency=1) as senders,
    ):
        for number in range(2):
            assert outcome(senders, call(number, PATIENCE_SECONDS, {"text": text})).status == 200
        assert [len(received.body) > len(text) for received in server.requests] == [True, True]
        assert len(server.connections) == 1


def test_connections_inside_tls_close_without_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    body = b'{"applicationName": "a", "companyName": "b", "attentiveDomainName": "c"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with serving(authority.serves(answering(answer))) as server:
        base_url = f"https://127.0.0.1:{server.port}/v1"
        assert whoami(base_url, Token.given("t"), 5, user_agent="worker/0") == Account("a", "b", "", "c")
        with running(base_url) as senders:
            assert outcome(senders, call(timeout_seconds=5)).status == 200
        assert senders.replies() == []


@pytest.mark.parametrize("ends_tls", [True, False])
def test_answer_without_a_length_is_whole_only_if_tls_was_closed(
    ends_tls: bool,  # noqa: FBT001 - a row of the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody on the way can end a TCP connection; only the destination can send the alert that closes TLS."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n{}")
        assert isinstance(connection.socket, ssl.SSLSocket)
        if ends_tls:
            connection.socket.unwrap()
        else:
            os.close(connection.socket.detach())

    with serving(authority.serves(script)) as server, running(f"https://127.0.0.1:{server.port}/v1") as senders:
        reply = outcome(senders, call(timeout_seconds=5))
    if ends_tls:
        assert (reply.status, reply.body) == (200, "{}")
    else:
        assert reply.failure is Failure.BROKEN
        assert reply.cause == "the other side closed the connection within its answer"


def test_a_trust_file_that_is_a_named_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "ca.pem")
    with pytest.raises(ValueError, match=r"ca\.pem, which cannot be used: it is a named pipe"):
        Trust({"SSL_CERT_FILE": str(pipe)}).context()
