"""The read endpoint, asked at the wire."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attentive.scripted import Connection, Server, answering, serving
from worker.attentive.lookups import Lookups
from worker.attentive.message import BODY_BYTES_MAX
from worker.attentive.request import LOOKUP_BYTES_MAX, lookup
from worker.attentive.token import Token
from worker.core.held import read_held
from worker.core.model import Failure, Reply, User

TOKEN = "secret-token-4711"
ANNA, BERT = User(phone="+13115552368"), User(email="bert+x@example.com")


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def lookups(server: Server, token: Token | None = None) -> Iterator[Lookups]:
    asked = Lookups(
        server.base_url,
        token or Token.given(TOKEN),
        user_agent="worker/0",
        timeout_seconds=5,
        connection_age_max_seconds=300,
    )
    try:
        yield asked
    finally:
        asked.close()


def ask(body: bytes, *users: User) -> list[Reply]:
    with serving(answering(answer(body))) as server, lookups(server) as asked:
        return asked.ask(users, lambda: False)


def test_a_user_is_named_by_phone_or_email_and_every_sign_is_escaped() -> None:
    with serving(answering(answer(b"[]"), answer(b"[]"))) as server, lookups(server) as asked:
        for user in (ANNA, BERT):
            assert [reply.body for reply in asked.ask([user], lambda: False)] == ["[]"]
        received = list(server.requests)
    assert [each.line for each in received] == [
        "GET /v1/attributes/custom?phone=%2B13115552368 HTTP/1.1",
        "GET /v1/attributes/custom?email=bert%2Bx%40example.com HTTP/1.1",
    ]
    assert received[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_several_users_are_asked_for_at_once_and_the_replies_are_in_their_order() -> None:
    def script(connection: Connection) -> None:
        while (received := connection.receive()) is not None:
            connection.send(answer(json.dumps([{"name": "asked", "value": received.line}]).encode()))

    users = [User(email=f"u{number}@example.com") for number in range(20)]
    with serving(script) as server, lookups(server) as asked:
        replies = asked.ask(users, lambda: False)
    for user, reply in zip(users, replies, strict=True):
        held = read_held(reply.body)
        assert held is not None
        assert (user.email or "").replace("@", "%40") in str(held["asked"])


def test_a_user_with_thousands_of_attributes_is_read_whole() -> None:
    body = json.dumps([{"name": f"attribute-{number}", "value": "x" * 20} for number in range(5_000)]).encode()
    assert BODY_BYTES_MAX < len(body) < LOOKUP_BYTES_MAX
    [reply] = ask(body, ANNA)
    held = read_held(reply.body)
    assert held is not None
    assert len(held) == 5_000


def test_an_answer_is_bounded() -> None:
    [reply] = ask(b"[" + b" " * LOOKUP_BYTES_MAX + b"]", ANNA)
    assert len(reply.body) == LOOKUP_BYTES_MAX
    assert read_held(reply.body) is None


def test_a_stop_cuts_short_who_has_not_answered() -> None:
    with serving(Connection.hold) as server, lookups(server) as asked:
        assert [reply.failure for reply in asked.ask([ANNA, BERT], lambda: True)] == [Failure.ABORTED] * 2


def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    with serving(answering(answer(b"[]"))) as server, lookups(server, Token.from_file(tmp_path / "none")) as asked:
        [reply] = asked.ask([ANNA], lambda: False)
        assert not server.requests
    assert reply.failure is Failure.NO_TOKEN
    assert "token file" in reply.cause


def test_a_redirect_tells_no_identifier() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /login/bert/example\r\nContent-Length: 0\r\n\r\n"
    with serving(answering(moved)) as server, lookups(server) as asked:
        [reply] = asked.ask([BERT], lambda: False)
    assert reply.status == 302
    assert "bert" not in reply.cause
    assert "login" in reply.cause


def test_the_request_shows_neither_token_nor_user() -> None:
    message = lookup("https://api.example.com/v1/attributes/custom", BERT, TOKEN, "worker/0")
    assert "bert" not in repr(message)
    assert TOKEN not in repr(message)
    assert b"bert+x@example.com" in message.private


@pytest.mark.parametrize(("status", "expected"), [("200 OK", None), ("401 Unauthorized", "API key")])
def test_whether_token_and_url_are_right_is_asked_for_apart(status: str, expected: str | None) -> None:
    with serving(answering(answer(b"{}", status))) as server, lookups(server) as asked:
        problem = asked.problem()
    assert problem is None if expected is None else expected in (problem or "")
