"""Calls with secrets in them, and senders that live for one block of a test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tests.attentive.scripted import Server
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.core.model import Call, Reply, User

TOKEN = "secret-token-4711"
PHONE = "+15550004711"
TIMEOUT_SECONDS = 0.3
PATIENCE_SECONDS = 5.0


def call(number: int = 1, timeout_seconds: float = TIMEOUT_SECONDS) -> Call:
    return Call(number, User(phone=PHONE), {"tier": "gold"}, timeout_seconds)


@contextlib.contextmanager
def running(base_url: str, token: Token | None = None, concurrency: int = 4) -> Iterator[Senders]:
    senders = Senders(base_url, token or Token.given(TOKEN), concurrency=concurrency, user_agent="worker/0")
    senders.start()
    try:
        yield senders
    finally:
        assert senders.close(PATIENCE_SECONDS)


def outcome(senders: Senders, wanted: Call) -> Reply:
    senders.submit(wanted)
    [(finished, reply)] = senders.replies(PATIENCE_SECONDS)
    assert finished is wanted
    return reply


def until_received(server: Server, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(server.requests) < count:
        assert time.monotonic() < deadline, f"only {len(server.requests)} of {count} requests arrived"
        time.sleep(0.005)  # a poll with a deadline


def drained(senders: Senders, count: int) -> list[tuple[Call, Reply]]:
    finished: list[tuple[Call, Reply]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(finished) < count:
        assert time.monotonic() < deadline, f"only {len(finished)} of {count} replies came"
        finished += senders.replies(0.2)
    return finished
