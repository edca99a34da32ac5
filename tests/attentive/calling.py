"""Calls with secrets in them, and senders that live for one block of a test."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping

from tests.attentive.scripted import Server
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.core.model import Call, Reply, Scalar, User

TOKEN = "secret-token-4711"
PHONE = "+15550004711"
TIMEOUT_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
AGE_MAX_SECONDS = 300.0


def call(
    number: int = 1, timeout_seconds: float = TIMEOUT_SECONDS, properties: Mapping[str, Scalar] | None = None
) -> Call:
    return Call(number, User(phone=PHONE), properties or {"tier": "gold"}, timeout_seconds)


def made(
    base_url: str,
    token: Token | None = None,
    concurrency: int = 4,
    age_max_seconds: float = AGE_MAX_SECONDS,
    may_send: Callable[[], bool] = lambda: True,
    write_by: Callable[[], float] = lambda: math.inf,
) -> Senders:
    return Senders(
        base_url,
        token or Token.given(TOKEN),
        concurrency=concurrency,
        user_agent="worker/0",
        connection_age_max_seconds=age_max_seconds,
        may_send=may_send,
        write_by=write_by,
    )


@contextlib.contextmanager
def running(
    base_url: str,
    token: Token | None = None,
    concurrency: int = 4,
    age_max_seconds: float = AGE_MAX_SECONDS,
    may_send: Callable[[], bool] = lambda: True,
) -> Iterator[Senders]:
    senders = made(base_url, token, concurrency, age_max_seconds, may_send)
    try:
        yield senders
    finally:
        senders.close()


def outcome(senders: Senders, wanted: Call) -> Reply:
    senders.submit(wanted)
    [(finished, reply)] = senders.replies(PATIENCE_SECONDS)
    assert finished is wanted
    return reply


def until_received(senders: Senders, server: Server, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(server.requests) < count:
        assert time.monotonic() < deadline, f"only {len(server.requests)} of {count} requests arrived"
        assert not senders.replies(0.005)


def drained(senders: Senders, count: int) -> list[tuple[Call, Reply]]:
    finished: list[tuple[Call, Reply]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(finished) < count:
        assert time.monotonic() < deadline, f"only {len(finished)} of {count} replies came"
        finished += senders.replies(0.2)
    return finished
