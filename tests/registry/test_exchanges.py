"""A registry, or whatever stands before it, that answers without end."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.registry.test_registry import until
from worker.registry.client import RegistryClient, explained
from worker.registry.registry import RegistrySchemas

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MIB = 2**20
Answering = Callable[[str, Callable[[bytes], None]], None]
"""Takes a request's path, and a function that sends."""


@contextmanager
def server(answer: Answering) -> Iterator[str]:
    """Answers one request of each connection. Yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = connection.recv(65_536).decode()
            if request:  # else the client gave up
                answer(request.split()[1], connection.sendall)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def client_of(*urls: str, **properties: Any) -> Iterator[RegistryClient]:  # noqa: ANN401 - the client's own settings
    client = RegistryClient(",".join(urls), properties)
    try:
        yield client
    finally:
        client.close()


def refusal(client: RegistryClient) -> str:
    try:
        client.schema(1)
    except Exception as error:  # noqa: BLE001 - as its caller does
        return explained(error)
    pytest.fail("it was answered")


def sized(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([OK.rstrip(), *headers, b"Content-Length: %d" % len(body), b"Connection: close", b"", body])


def endless(_path: str, send: Callable[[bytes], None]) -> None:
    send(OK + b'\r\n{"schema": "')
    for _ in range(64):
        send(b" " * MIB)


def compressed(_path: str, send: Callable[[bytes], None]) -> None:
    send(sized(gzip.compress(b" " * 64 * MIB), b"Content-Encoding: gzip"))


def referring(path: str, send: Callable[[bytes], None], *, size: int = MIB) -> None:
    """Each schema refers to one more."""
    number = int(path.partition("?")[0].rpartition("/")[2])
    schema = {"type": "enum", "name": f"n{number}", "symbols": ["a"], "doc": "x" * size}
    references = [{"name": f"n{number + 1}", "subject": "s", "version": number + 1}]
    send(sized(json.dumps({"schema": json.dumps(schema), "references": references}).encode()))


@pytest.mark.parametrize("answer", [endless, compressed, referring])
def test_an_answer_without_end_is_cut_and_explained(answer: Answering) -> None:
    with server(answer) as url, client_of(url) as client:
        assert refusal(client) == "it answers more than 4 MiB, as no schema is; check its URL"


def test_a_compressed_answer_is_read() -> None:
    def answer(_: str, send: Callable[[bytes], None]) -> None:
        send(sized(gzip.compress(b'{"schema": "\\"int\\""}'), b"Content-Encoding: gzip"))

    with server(answer) as url, client_of(url) as client:
        assert client.schema(1) == "int"


@pytest.mark.parametrize("begins", [b"", OK, OK + b"Content-Length: 1000\r\n\r\n"], ids=["status", "head", "body"])
def test_one_deadline_bounds_an_answer_that_drips_and_the_next_url_is_tried(begins: bytes) -> None:
    ended = threading.Event()

    def dripping(_: str, send: Callable[[bytes], None]) -> None:
        send(begins)
        for byte in b"HTTP/1.1 200 OK" if begins == b"" else b"x" * 1_000:
            send(bytes([byte]))
            ended.wait(0.05)
        ended.wait()

    def well(_: str, send: Callable[[bytes], None]) -> None:
        send(sized(b'{"schema": "\\"int\\""}'))

    with server(dripping) as url, server(well) as second:
        with client_of(url, timeout=0.3) as client:
            assert refusal(client) == "no whole answer within 0.3 s"
        with client_of(url, second, timeout=0.3) as client:
            assert client.schema(1) == "int"
        ended.set()


def test_a_schema_with_slow_references_has_a_deadline_too() -> None:
    pauses = threading.Event()

    def answer(path: str, send: Callable[[bytes], None]) -> None:
        pauses.wait(0.05)
        referring(path, send, size=1)

    with server(answer) as url, client_of(url, timeout=0.2) as client:
        assert refusal(client) == "no whole answer within 1.2 s"


def test_the_token_of_an_identity_provider_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with server(endless) as url:
        properties = {
            "bearer.auth.credentials.source": "OAUTHBEARER",
            "bearer.auth.issuer.endpoint.url": f"{url}/token",
            "bearer.auth.client.id": "ann",
            "bearer.auth.client.secret": "hunter2",
            "bearer.auth.scope": "read",
            "bearer.auth.logical.cluster": "lsrc-1",
        }
        with client_of(url, **properties) as client:
            assert refusal(client) == "it answers more than 4 MiB, as no schema is; check its URL"


def test_an_id_whose_answer_drips_holds_no_other_id_up() -> None:
    ended = threading.Event()

    def answer(path: str, send: Callable[[bytes], None]) -> None:
        if path.startswith("/schemas/ids/1"):
            send(OK + b"Content-Length: 1000\r\n\r\n")
            while not ended.wait(0.05):
                send(b" ")
        else:
            send(sized(b'{"schema": "\\"int\\""}'))

    with server(answer) as url:
        schemas = RegistrySchemas(url, {"timeout": 0.5}, "letters")
        try:
            schemas.request(1)
            assert f"cannot fetch schema 1 at {url}: no whole answer within 0.5 s" in until(
                lambda: "schema 1" in (schemas.waiting() or "") and schemas.waiting()
            )
            schemas.request(2)
            assert until(schemas.answers) == [(2, "int")]
        finally:
            ended.set()
            schemas.close()
