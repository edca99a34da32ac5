"""A broker of whose requests some kind is lost on the way: its clients reach it by a proxy that reads their frames."""

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
_LISTENER = "LOSSY"


class LossyBroker(LocalBroker):
    """Clients that begin at `lossy` lose the requests of which `loses` says so, by their API key."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, listeners={_LISTENER: "PLAINTEXT"})
        self.loses: Callable[[int], bool] = lambda _: False
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
                broker = socket.create_connection((host, int(port)))
                for carry in (self._forward, self._return):
                    threading.Thread(target=carry, args=(client, broker), daemon=True).start()

    def _forward(self, client: socket.socket, broker: socket.socket) -> None:
        with client, broker, suppress(OSError, struct.error):
            source = client.makefile("rb")
            while True:
                size = source.read(4)
                frame = source.read(*struct.unpack(">i", size))
                if not self.loses(*struct.unpack_from(">h", frame)):
                    broker.sendall(size + frame)

    def _return(self, client: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError):
            while answer := broker.recv(65_536):
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)
