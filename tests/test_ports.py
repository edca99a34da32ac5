"""Ports for servers that must know theirs beforehand."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.support.ports import reserved_port

_MANY = 200


def test_no_port_is_given_twice_nor_to_whoever_binds_port_0() -> None:
    ports = [reserved_port() for _ in range(_MANY)]
    assert len(set(ports)) == _MANY
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert max(ports) < probe.getsockname()[1]


def test_another_process_gets_others() -> None:
    """It asks for each port of a range that is as small as ours."""
    ours = {reserved_port() for _ in range(3)}
    script = (
        "import random, sys, tests.support.ports as ports\n"
        f"taken = iter({sorted(ours)!r} + [0])\n"
        "class Chooser:\n"
        "    def randrange(self, low, high): return next(taken) or low + 7\n"
        "ports.random.SystemRandom = Chooser\n"
        "print(ports.reserved_port())\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert int(told.stdout) not in ours
