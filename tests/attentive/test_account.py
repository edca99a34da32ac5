from __future__ import annotations

import socket
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.attentive.scripted import Connection, answering, serving
from worker.attentive.account import Account, Problem, whoami
from worker.attentive.token import Token

TOKEN = "secret-token-4711"


def ask(base_url: str, timeout_seconds: float = 2) -> Account | Problem:
    return whoami(base_url, Token.given(TOKEN), timeout_seconds, user_agent="worker/0")


def answer(status: str, body: bytes = b"", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_account_of_the_token() -> None:
    body = (
        b'{"applicationName": "Profiles", "companyName": "Acme\\u001b", "attentiveDomainName": "acme", "companyId": 1}'
    )
    with serving(answering(answer("200 OK", body))) as server:
        assert ask(server.base_url) == Account("Profiles", "Acme", "1", "acme")
        [received] = server.requests
    assert received.line == "GET /v1/me HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("ahead_seconds", "least", "most"), [(0, 0, 0), (3_600, 3_598, 3_600), (-3_600, -3_600, -3_598)]
)
def test_the_date_tells_how_far_the_clock_is_off(ahead_seconds: int, least: float, most: float) -> None:
    date = formatdate(time.time() - ahead_seconds, usegmt=True)
    with serving(answering(answer("200 OK", b"{}", f"Date: {date}\r\n"))) as server:
        account = ask(server.base_url)
    assert isinstance(account, Account)
    assert account.clock_ahead_seconds is not None
    assert least <= account.clock_ahead_seconds <= most


@pytest.mark.parametrize("date", ["", "Date: soon\r\n"])
def test_without_a_date_nothing_is_said_of_the_clock(date: str) -> None:
    with serving(answering(answer("200 OK", b"{}", date))) as server:
        account = ask(server.base_url)
    assert isinstance(account, Account)
    assert account.clock_ahead_seconds is None


@pytest.mark.parametrize(
    ("reply", "what", "mend"),
    [
        (answer("401 Unauthorized"), "401", "API key"),
        (answer("403 Forbidden"), "403", "attributes:write"),
        (answer("404 Not Found"), "404", "BASE_URL"),
        (answer("302 Found", more="Location: /login\r\n"), "redirect", "BASE_URL"),
        (answer("429 Slow Down"), "429", "rate limit"),
        (answer("500 Oops"), "500", "try again"),
        (answer("200 OK", b"<html>"), "JSON", "BASE_URL"),
        (answer("200 OK", b"[" * 50_000), "JSON", "BASE_URL"),
        (answer("200 OK", b"{" + b'"a":{' * 50_000), "JSON", "BASE_URL"),
        (b"garbage\r\n\r\n", "not HTTP", "BASE_URL"),
    ],
    ids=range(10),
)
def test_problem_says_what_and_how_to_mend_it(reply: bytes, what: str, mend: str) -> None:
    with serving(answering(reply)) as server:
        problem = ask(server.base_url)
    assert isinstance(problem, Problem)
    assert what in problem.what
    assert mend in problem.mend
    assert TOKEN not in repr(problem)


def test_refused_and_silent_destinations() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused = ask(f"http://127.0.0.1:{port}")
    assert isinstance(refused, Problem)
    assert "no connection" in refused.what
    with serving(Connection.hold) as server:
        started = time.monotonic()
        silent = ask(server.base_url, 0.2)
        assert time.monotonic() - started < 1
    assert isinstance(silent, Problem)
    assert "in time" in silent.what


def test_authorities_that_cannot_be_read_are_named_and_no_proxy_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ValueError, match=r"^SSL_CERT_FILE names .*/missing\.pem, which cannot be used: No such file"):
        ask("https://127.0.0.1:1")


def test_no_token_asks_nobody() -> None:
    problem = whoami("http://127.0.0.1:1", Token.given(""), 1, user_agent="worker/0")
    assert problem == Problem("the configured token: empty", "put the token of the Attentive app there")


def test_a_name_that_is_looked_up_for_long_keeps_no_process_alive() -> None:
    """`check` has said its last word; a name server that never answers must not hold its exit."""
    program = """
import socket, threading
from worker.attentive.account import whoami
from worker.attentive.token import Token

socket.getaddrinfo = lambda *_, **__: threading.Event().wait(60)
print(whoami("http://api.test/v1", Token.given("t"), 0.1, user_agent="w").what)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "no complete answer in time: still looking up the name api.test\n"
