"""Three brokers on this machine: a cluster that survives the loss of one, with listeners to put proxies before."""

from __future__ import annotations

import base64
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.support.brokers import LocalBroker, RunningBroker
from tests.support.java import Unavailable

NODES = 3

_READY_SECONDS = 90.0

_PROPERTIES: Mapping[str, str] = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    "replica.lag.time.max.ms": "3000",
    # A broker that comes back becomes leader again, so each broker that goes moves leaders twice.
    "leader.imbalance.check.interval.seconds": "5",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
}


class Node(LocalBroker):
    """One broker of the cluster. Its further listeners advertise the addresses that `join` is given."""

    def __init__(self, number: int, directory: Path, listeners: Mapping[str, str]) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory, dict(_PROPERTIES), listeners)
        self.number = number
        self._voters = ""
        self._advertised: Mapping[str, str] = {}

    @property
    def voter(self) -> str:
        return f"{self.number}@{self.address('CONTROLLER')}"

    def join(self, voters: str, advertised: Mapping[str, str]) -> None:
        """Set the cluster's voters, and the addresses that clients of the further listeners are told."""
        self._voters, self._advertised = voters, advertised

    def spawn(self) -> None:
        """Start the process, without waiting. The kernel ends it when the calling thread ends."""
        self._prepare()
        self._spawn()

    def terminate(self) -> None:
        """Ask it to hand its partitions over and end (SIGTERM), without waiting."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)

    def until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            Unavailable: it ended instead, or did not within a minute; the message ends with its log.
        """
        host, port = self.bootstrap_servers.split(":")
        deadline = time.monotonic() + _READY_SECONDS
        # Not by a Kafka client: once it knows the other nodes, these would answer it.
        while self._process is not None and self._process.running and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.1)
        raise Unavailable(f"node {self.number} did not start: {self._tail()}")

    def _server_properties(self) -> Mapping[str, str]:
        told = {name: self._advertised.get(name, self.address(name)) for name in self._protocols}
        return {
            **super()._server_properties(),
            "node.id": str(self.number),
            "controller.quorum.voters": self._voters,
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in told.items()),
        }

    def _format(self, data: Path) -> None:
        super()._format(data)
        # The copy is of node 1; a cluster refuses two directories of one id.
        directory_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "_")
        lines = {"node.id": str(self.number), "directory.id": directory_id}
        meta = data / "meta.properties"
        kept = [line for line in meta.read_text().splitlines() if line.partition("=")[0] not in lines]
        meta.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in lines.items()), ""]))


class Cluster(RunningBroker):
    """Three nodes.

    Args:
        directory: an empty folder.
        listeners: names of further listeners of every node, without security.
    """

    def __init__(self, directory: Path, listeners: tuple[str, ...] = ()) -> None:
        self._directory = directory
        plain = dict.fromkeys(listeners, "PLAINTEXT")
        self.nodes = [Node(number, directory / f"node-{number}", plain) for number in range(1, NODES + 1)]
        super().__init__(",".join(node.bootstrap_servers for node in self.nodes))

    def start(self, advertised: Mapping[tuple[int, str], str] | None = None) -> None:
        """Start all nodes at once: none is ready before a majority runs.

        Args:
            advertised: what clients are told, by node number and listener; else the listener's own address.

        Raises:
            Unavailable: one did not start.
        """
        voters = ",".join(node.voter for node in self.nodes)
        for node in self.nodes:
            told = {name: address for (number, name), address in (advertised or {}).items() if number == node.number}
            node.join(voters, told)
            node.spawn()
        for node in self.nodes:
            node.until_ready()

    def stop(self) -> None:
        super().stop()
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(Node.stop, self.nodes))
        shutil.rmtree(self._directory, ignore_errors=True)
