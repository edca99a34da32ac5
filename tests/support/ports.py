"""Ports for servers that must know theirs before they start: a broker tells it to its clients, and restarts on it."""

from __future__ import annotations

import fcntl
import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.support.java import cache

_LOWEST = 10_240
_SYSTEMS = Path("/proc/sys/net/ipv4/ip_local_port_range")  # Linux; the default elsewhere is higher than ours
_TRIES = 1_000

_held: list[IO[str]] = []


def reserved_port() -> int:
    """Take a port that is free, and that nobody else is given until this process ends.

    The system gives its own ports to outgoing connections and to whoever binds port 0, also between two starts of one
    server; so this one lies below them. A lock on a file keeps it from other test processes.
    """
    folder = cache() / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        port = random.SystemRandom().randrange(_LOWEST, _above())
        with suppress(OSError):
            _hold(folder / str(port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port from {_LOWEST} to {_above() - 1} is free")


def _hold(path: Path) -> None:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    _held.append(lock)


def _above() -> int:
    lowest = int(_SYSTEMS.read_text().split()[0]) if _SYSTEMS.exists() else 32_768
    return lowest if lowest > _LOWEST + 1_000 else 32_768
