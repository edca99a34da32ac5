"""A broker of whose requests some kind is lost or refused: its clients reach it by a proxy that reads their frames."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.brokers import LocalBroker

OFFSET_FETCH = 9
"""The API key of the question for committed offsets and their notes."""
_NOT_COORDINATOR = 16
_LISTENER = "LOSSY"


class LossyBroker(LocalBroker):
    """Clients that begin at `lossy` lose the requests of which `loses` says so, by their API key.

    `not_coordinator` says whether the next OffsetFetch is answered as by a broker that is not the group's coordinator.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, listeners={_LISTENER: "PLAINTEXT"})
        self.loses: Callable[[int], bool] = lambda _: False
        self.not_coordinator: Callable[[], bool] = lambda: False
        self._door = socket.create_server(("127.0.0.1", 0))
        self.lossy = f"127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, name="lossy", daemon=True).start()

    def stop(self) -> None:
        super().stop()
        self._door.close()

    def _server_properties(self) -> Mapping[str, str]:
        told = f"PLAINTEXT://{self.address('PLAINTEXT')},{_LISTENER}://{self.lossy}"
        return {**super()._server_properties(), "advertised.listeners": told}

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                host, port = self.address(_LISTENER).split(":")
                try:
                    broker = socket.create_connection((host, int(port)))
                except OSError:  # it is stopped
                    client.close()
                    continue
                writing = threading.Lock()
                for carry in (self._forward, self._return):
                    threading.Thread(target=carry, args=(client, broker, writing), daemon=True).start()

    def _forward(self, client: socket.socket, broker: socket.socket, writing: threading.Lock) -> None:
        with client, broker, suppress(OSError, struct.error):
            source = client.makefile("rb")
            while True:
                frame = _frame(source.read)
                (api_key,) = struct.unpack_from(">h", frame)
                if api_key == OFFSET_FETCH and self.not_coordinator():
                    with writing:
                        client.sendall(_sized(_refusal(frame)))
                elif not self.loses(api_key):
                    broker.sendall(_sized(frame))

    def _return(self, client: socket.socket, broker: socket.socket, writing: threading.Lock) -> None:
        with suppress(OSError, struct.error):
            source = broker.makefile("rb")
            while answer := _frame(source.read):
                with writing:
                    client.sendall(_sized(answer))
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _frame(read: Callable[[int], bytes]) -> bytes:
    return read(*struct.unpack(">i", read(4)))


def _sized(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame


def _refusal(request: bytes) -> bytes:
    """An OffsetFetch response of version 8 or 9, without topics.

    Its format: https://kafka.apache.org/protocol.html#The_Messages_OffsetFetch.
    """
    _, version, correlation, client_size = struct.unpack_from(">hhih", request)
    assert version in {8, 9}, f"OffsetFetch of version {version}: its answers have another form"
    body = 10 + max(client_size, 0) + 1  # the header's tagged fields: one byte, for none
    group_size = request[body + 1]  # after the number of groups: both are one byte, as they are small
    group = request[body + 1 : body + 1 + group_size]
    no_tags, no_topics, one_group = b"\0", b"\1", b"\2"
    header = struct.pack(">i", correlation) + no_tags
    throttle_ms = struct.pack(">i", 0)
    return header + throttle_ms + one_group + group + no_topics + struct.pack(">h", _NOT_COORDINATOR) + 2 * no_tags
