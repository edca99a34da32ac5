"""Kafka brokers for tests: a real one where this machine can run one, librdkafka's embedded mock everywhere."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.java import Process, Unavailable, cache, java, kafka_jars, only_one
from tests.support.ports import reserved_port
from tests.support.processes import until

_READY_SECONDS = 60.0
_KNOWN_SECONDS = 30.0
_CLUSTER_ID = "AttributeWorkerTest0ab"  # 22 characters of base64url, as Kafka wants it

_SERVER: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.partitions": "3",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.heartbeat.interval.ms": "100",
    # Else records with old timestamps would be deleted while a test reads them.
    "log.retention.ms": "-1",
    "log.segment.bytes": "16777216",
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "message.max.bytes": "8388608",
    # A restart after kill -9 waits for this time-out. With a shorter one, a broker that gets no CPU is fenced.
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "2000",
    "num.network.threads": "2",
}
_LOGGING = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
"""


class Broker(Protocol):
    """What every kind of test broker can do."""

    @property
    def real(self) -> bool: ...

    @property
    def bootstrap_servers(self) -> str: ...

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None: ...

    def stop(self) -> None: ...


class MockBroker:
    """librdkafka's embedded mock: lives in this process, every topic has 4 partitions."""

    real = False

    def __init__(self) -> None:
        # The mock lives as long as this producer. The log level keeps it from announcing itself on stderr.
        self._host = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": "1", "log_level": "2"})
        brokers = self._host.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        if partitions != 4 or config:
            raise ValueError("the mock gives every topic 4 partitions and takes no topic configuration")
        self._host.list_topics(name, timeout=10)

    def stop(self) -> None:
        """Leaves it to the end of the process: when librdkafka destroys its mock, it now and then hangs or crashes."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._host))


class RunningBroker:
    """A broker that somebody else runs, reached by its address."""

    real = True

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._admin: AdminClient | None = None

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    @property
    def admin(self) -> AdminClient:
        """One client for the broker's whole life: after a client is garbage-collected its answers never come."""
        if self._admin is None:
            self._admin = AdminClient(
                {"bootstrap.servers": self.bootstrap_servers, "reconnect.backoff.max.ms": 500, "log_level": 2}
            )
        return self._admin

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        wanted = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=dict(config or {}))
        self.admin.create_topics([wanted])[name].result(30)
        # The controller has it, but a broker may not have heard of it.
        until(partial(self._knows, name, partitions), _KNOWN_SECONDS, f"brokers know the new topic {name}")

    def _knows(self, topic: str, partitions: int) -> bool:
        found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions.values()
        return len(found) == partitions and all(each.error is None and each.leader >= 0 for each in found)

    def stop(self) -> None:
        self._admin = None


class LocalBroker(RunningBroker):
    """Apache Kafka as a process of this machine: one node, KRaft, no security on its own listener.

    Args:
        directory: an empty folder for its data, configuration and log.
        properties: further lines of server.properties.
        listeners: further listeners, name to security protocol; their properties are in `properties`.
    """

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._properties = dict(properties or {})
        self._protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self._classpath = f"{kafka_jars()}/*"
        self._process: Process | None = None
        self._pick_ports()
        super().__init__(self.address("PLAINTEXT"))

    @property
    def bootstrap_servers(self) -> str:
        return self.address("PLAINTEXT")

    def address(self, listener: str) -> str:
        return f"127.0.0.1:{self._ports[listener]}"

    def start(self) -> None:
        """Start, or start again on the same ports with the same data.

        Raises:
            Unavailable: it did not start; the message ends with its log.
        """
        first = self._prepare()
        if not self._launch():
            # Another process may have taken a port since it was picked; after the first start clients know them.
            if first:
                self._pick_ports()
            if not self._launch():
                raise Unavailable(f"Kafka did not start: {self._tail()}")

    def stop(self) -> None:
        super().stop()
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Acknowledged records survive: they are in the kernel's page cache."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def fill_disk(self, bytes_left: int) -> None:
        """Limit the size of each file that the process writes: a write past it fails as on a full disk."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (bytes_left, bytes_left))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def _prepare(self) -> bool:
        """Lay out the directory. Returns whether this is the first time."""
        (self._directory / "log4j2.properties").write_text(_LOGGING)
        data = self._directory / "data"
        if data.exists():
            return False
        self._format(data)
        return True

    def _format(self, data: Path) -> None:
        shutil.copytree(_formatted(self._classpath), data)

    def _pick_ports(self) -> None:
        self._ports = {name: reserved_port() for name in [*self._protocols, "CONTROLLER"]}

    def _launch(self) -> bool:
        self._spawn()
        return self._answers()

    def _spawn(self) -> None:
        configuration = self._directory / "server.properties"
        configuration.write_text("".join(f"{name}={value}\n" for name, value in self._server_properties().items()))
        command = java(
            f"-Dlog4j2.configurationFile={self._directory}/log4j2.properties",
            "-cp",
            self._classpath,
            "kafka.Kafka",
            str(configuration),
        )
        self._process = Process(command, self._directory / "kafka.log")

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._process.running:
            with suppress(KafkaException):
                if self.admin.list_topics(timeout=0.5).brokers:
                    return True
        self._process.kill()
        self._admin = None
        return False

    def _server_properties(self) -> Mapping[str, str]:
        addresses = [f"{name}://127.0.0.1:{self._ports[name]}" for name in self._protocols]
        controller = f"127.0.0.1:{self._ports['CONTROLLER']}"
        protocols = {**self._protocols, "CONTROLLER": "PLAINTEXT"}
        return {
            **_SERVER,
            "listeners": ",".join([*addresses, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(addresses),
            "listener.security.protocol.map": ",".join(f"{name}:{of}" for name, of in protocols.items()),
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._directory / "data"),
            **self._properties,
        }

    def _tail(self) -> str:
        return self._process.tail() if self._process else "no process"


def _formatted(classpath: str) -> Path:
    """Return a formatted data folder, to copy: formatting anew would start a JVM each time."""
    folder = cache() / "kafka-4.4.0-formatted"
    with only_one(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            scratch = cache() / f"formatting-{os.getpid()}"
            scratch.mkdir()
            data = scratch / "data"
            configuration = scratch / "server.properties"
            lines = {
                **_SERVER,
                "listeners": "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "controller.quorum.voters": "1@127.0.0.1:2",
                "log.dirs": str(data),
            }
            configuration.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
            command = java("-cp", classpath, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID)
            done = subprocess.run(
                [*command, "-c", str(configuration)], capture_output=True, text=True, check=False, timeout=120
            )
            if done.returncode != 0:
                shutil.rmtree(scratch)
                raise Unavailable(f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}")
            data.rename(folder)
            shutil.rmtree(scratch)
    return folder


class DockerBroker(RunningBroker):
    """Apache Kafka in a container, where there is a Docker."""

    def __init__(self) -> None:
        # Asked first, since docker's client leaves a socket open when it cannot connect.
        if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
            raise Unavailable("there is no Docker")
        from docker import from_env  # noqa: PLC0415 - both are slow to import and needed only here
        from docker.errors import DockerException  # noqa: PLC0415 - as above

        try:
            from_env().ping()
        except DockerException as absent:
            raise Unavailable("there is no Docker") from absent
        from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415 - as above

        # 8.x carries Apache Kafka 4.x, which the tests of the new group protocol need.
        self._container = KafkaContainer("confluentinc/cp-kafka:8.0.0").with_kraft()
        self._container.start()
        super().__init__(self._container.get_bootstrap_server())

    def stop(self) -> None:
        super().stop()
        self._container.stop()


def real_broker(directory: Path) -> RunningBroker:
    """Find or start a real broker: KAFKA_BOOTSTRAP_SERVERS, else a container, else a local process.

    Raises:
        Unavailable: there is none; the message says what to install.
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        return RunningBroker(given)
    with suppress(Unavailable):
        return DockerBroker()
    broker = LocalBroker(directory)
    broker.start()
    return broker


def unique_name(prefix: str) -> str:
    """Make a topic or group name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
