"""A proxy that opens tunnels by CONNECT, whatever host they ask for, to one port of this machine."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl

from tests.attentive.scripted import Connection, Script

_OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def tunnelling(port: int, answer: bytes = _OPENED) -> Script:
    """Answers CONNECT, and then carries bytes both ways until one side closes."""

    def script(connection: Connection) -> None:
        if connection.receive() is None:
            return
        with socket.create_connection(("127.0.0.1", port)) as onward:
            connection.send(answer)
            _carry(connection.socket, onward)

    return script


def _carry(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select(30):
                assert isinstance(key.fileobj, socket.socket)
                content = key.fileobj.recv(65536)
                if isinstance(key.fileobj, ssl.SSLSocket):  # what it has decrypted, no selector tells of
                    content += key.fileobj.recv(key.fileobj.pending()) if key.fileobj.pending() else b""
                if not content:
                    return
                key.data.sendall(content)
