"""Which connection a call takes, and when a new one is opened."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter

import pytest

from tests.attentive.calling import PATIENCE_SECONDS, call, drained, outcome, running, until_received
from tests.attentive.scripted import OK, Connection, answering, serving
from worker.attentive import pool
from worker.core.model import Failure


def test_connection_past_its_age_takes_no_further_call() -> None:
    with serving(answering(OK)) as server, running(server.base_url, age_max_seconds=1e-9) as senders:
        for number in range(3):
            assert outcome(senders, call(number)).status == 200
        assert len(server.connections) == 3


def test_after_a_421_the_next_call_has_a_new_connection() -> None:
    """Whatever is idle was opened before, and may lead to the same server."""
    misdirected = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"
    both = threading.Barrier(2)

    def script(connection: Connection) -> None:
        for number in itertools.count():
            if connection.receive() is None:
                return
            is_old = connection in server.connections[:2]
            if is_old and number == 0:
                both.wait(PATIENCE_SECONDS)
            connection.send(misdirected if is_old and number else OK)

    with serving(script) as server, running(server.base_url) as senders:
        for number in range(2):
            senders.submit(call(number, PATIENCE_SECONDS))
        drained(senders, 2)
        assert outcome(senders, call(2)).status == 421
        for number in range(3, 6):
            assert outcome(senders, call(number)).status == 200
        assert len(server.connections) == 3


def test_host_that_moves_is_found_at_its_new_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load no connection is ever idle for long: only its age ends it."""
    with serving(answering(OK)) as old, serving(answering(OK)) as new:
        at = [old]

        def resolve(*_arguments: object, **_options: object) -> list[object]:
            address = (at[0].host, at[0].port)
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with running("http://api.test/v1", concurrency=1, age_max_seconds=0.2) as senders:
            number = 0
            while not new.requests:
                number += 1
                assert outcome(senders, call(number, PATIENCE_SECONDS)).status == 200
                at[0] = new
        assert old.requests
        assert len(old.connections) == 1


def test_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as server, running(server.base_url, concurrency=1) as senders:
        assert outcome(senders, call(1)).status == 200
        assert outcome(senders, call(2)).status == 200
        monkeypatch.setattr(pool, "IDLE_SECONDS", -1.0)
        assert outcome(senders, call(3)).status == 200
        assert len(server.connections) == 2


def test_the_warmest_connection_is_used() -> None:
    go_on = threading.Event()
    asked: list[int] = []

    def script(connection: Connection) -> None:
        while connection.receive() is not None:
            asked.append(id(connection))
            go_on.wait(PATIENCE_SECONDS)
            connection.send(OK)

    with serving(script) as server, running(server.base_url) as senders:
        for number in range(2):
            senders.submit(call(number, PATIENCE_SECONDS))
        until_received(senders, server, 2)
        go_on.set()
        drained(senders, 2)
        for number in range(2, 6):
            assert outcome(senders, call(number)).status == 200
        assert len(server.connections) == 2
        assert sorted(Counter(asked).values()) == [1, 5]


def test_half_closed_idle_connection_is_not_used_again() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(OK)
        connection.hold()

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        for number in range(4):
            assert outcome(senders, call(number)).status == 200
            server.connections[-1].socket.shutdown(socket.SHUT_WR)
        assert len(server.connections) == 4


def test_address_that_leads_nowhere_costs_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of two addresses, the first of which swallows what is sent to it (a broken IPv6, a fenced-off zone)."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, serving(answering(OK)) as server:
        swallowing = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(swallowing)
        addresses = [swallowing, (server.host, server.port)]

        def resolve(*_arguments: object, **_options: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with running("http://api.test/v1", concurrency=1) as senders:
            reply = outcome(senders, call(1, PATIENCE_SECONDS))
            assert reply.status == 200
            assert reply.seconds < 2
            addresses.pop()
            assert outcome(senders, call(2)).status == 200  # on the connection that there is
        with running("http://api.test/v1", concurrency=1) as senders:
            assert outcome(senders, call(3)).failure is Failure.TIMEOUT
        for filler in fillers:
            filler.close()


def test_an_aborted_call_takes_its_connection_with_it() -> None:
    """Its answer may still come: no other call may find it."""

    def script(connection: Connection) -> None:
        while connection.receive() is not None:
            if len(server.connections) == 1:
                connection.socket.recv(1)  # until the client closes
            connection.send(OK)

    with serving(script) as server, running(server.base_url, concurrency=1) as senders:
        aborted = call(1, PATIENCE_SECONDS)
        senders.submit(aborted)
        until_received(senders, server, 1)
        senders.abort([aborted])
        assert [reply.failure for _, reply in drained(senders, 1)] == [Failure.ABORTED]
        assert outcome(senders, call(2, PATIENCE_SECONDS)).status == 200
        assert len(server.connections) == 2
