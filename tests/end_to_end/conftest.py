"""A lab for each test: its own topic on the real broker, a sandbox, and workers that end with the test."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.attentive.certificates import Authority
from tests.support import topics
from tests.support.absent import absent
from tests.support.brokers import RunningBroker
from tests.support.java import Unavailable
from tests.support.processes import TOKEN, Command, SandboxCommand, WorkerCommand, until
from tests.support.profiles import Change, fold, produce, schema_directory
from tests.support.secured_broker import PASSWORD, USER, Secured, SecuredBroker

# Short, so that a killed worker's partitions soon move; requests must be shorter still. Only for tests that kill or
# freeze: on a machine short of CPU, a short session ends without a fault, and open entries are sent again.
SESSION_MS = 6000
SHORT_SESSION = {
    "WORKER_KAFKA__PROPERTIES": json.dumps({"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 1000})
}


class Lab:
    """The names and the processes of one test."""

    def __init__(self, broker: RunningBroker, directory: Path) -> None:
        name = uuid.uuid4().hex[:12]
        self.broker = broker
        self.topic = f"profiles-{name}"
        self.dead_letter_topic = f"{self.topic}.dead-letter"
        self.group = f"group-{name}"
        self._directory = directory
        self._commands: list[Command] = []
        self.schemas = schema_directory(directory / "schemas")

    def environment(self, base_url: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A worker's complete configuration."""
        return {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "WORKER_KAFKA__TOPICS": self.topic,
            "WORKER_KAFKA__DEAD_LETTER_TOPIC": self.dead_letter_topic,
            "WORKER_KAFKA__GROUP_ID": self.group,
            "WORKER_SCHEMAS__DIRECTORY": str(self.schemas),
            "WORKER_ATTENTIVE__BASE_URL": base_url,
            "WORKER_ATTENTIVE__TOKEN": TOKEN,
            "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "4",
            "WORKER_WINDOW__SECONDS": "1",
            **(extra or {}),
        }

    def sandbox(self, *options: str) -> SandboxCommand:
        sandbox = SandboxCommand(self._fresh("sandbox"), *options)
        self._commands.append(sandbox)
        return sandbox

    def sandbox_at(self, port: int) -> SandboxCommand:
        """A sandbox on a given port, where a worker already looks for its destination."""
        return self.sandbox("--port", str(port))

    def worker(self, base_url: str, extra: Mapping[str, str] | None = None) -> WorkerCommand:
        environment = self.environment(base_url, extra)
        # A test unsets a variable by giving it as "".
        worker = WorkerCommand(self._fresh("worker"), {name: value for name, value in environment.items() if value})
        self._commands.append(worker)
        return worker

    def start(self, *arguments: str, environment: Mapping[str, str]) -> Command:
        """Any other command, begun."""
        command = Command(arguments, self._fresh(arguments[0]), environment)
        self._commands.append(command)
        return command

    def command(self, *arguments: str, environment: Mapping[str, str]) -> Command:
        """Any other command, to its end."""
        command = self.start(*arguments, environment=environment)
        command.wait()
        return command

    def check(self, base_url: str, extra: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
        """What `check` finds, by the check's name; the last one of a name."""
        environment = {name: value for name, value in self.environment(base_url, extra).items() if value}
        command = self.command("check", "--json", environment=environment)
        found = [json.loads(line) for line in command.output.read_text().splitlines()]
        return {finding["check"]: finding for finding in found}

    def produce(self, made: Iterable[Change]) -> None:
        produce(self.broker.bootstrap_servers, self.topic, made)

    def all_committed(self) -> bool:
        return topics.all_committed(self.broker.bootstrap_servers, self.group, self.topic)

    def until_committed(self, seconds: float) -> None:
        until(self.all_committed, seconds, "the committed offsets reach the end", pause=0.3)

    def dead_letters(self) -> list[dict[str, object]]:
        return topics.dead_letters(self.broker.bootstrap_servers, self.dead_letter_topic)

    def end(self) -> None:
        """Kills what still runs, and prints the ends of the logs: pytest shows that of a test that failed."""
        for command in self._commands:
            command.kill()
            print(command.log, *command.log.read_text(errors="replace").splitlines()[-40:], sep="\n")  # noqa: T201 - captured

    def _fresh(self, kind: str) -> Path:
        return self._directory / f"{kind}-{len(self._commands)}"


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    yield lab
    lab.end()


def final_state(sandbox: SandboxCommand) -> dict[str, dict[str, object]]:
    """What the destination holds in the end, by phone."""
    return {user["user"]["phone"]: user["attributes"] for user in sandbox.users()}


def assert_equivalent(sandbox: SandboxCommand, made: Iterable[Change]) -> None:
    """Every user of the destination ended with the last value of each attribute."""
    expected, found = fold(made), final_state(sandbox)
    differing = [user for user in expected.keys() | found.keys() if expected.get(user) != found.get(user)]
    such = "; ".join(f"{user}: {found.get(user)}, not {expected.get(user)}" for user in sorted(differing)[:5])
    assert not differing, f"{len(differing)} of {len(expected)} users differ, such as {such}"


@pytest.fixture(scope="session")
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A real Kafka with listeners that speak TLS, one for the session."""
    ours, foreign = (Authority(tmp_path_factory.mktemp(name), name) for name in ("ours", "foreign"))
    trust = ours.trust()
    try:
        broker = SecuredBroker(tmp_path_factory.mktemp("secured-kafka"), ours.certificate(), trust)
        broker.start()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "local Kafka", reason)
    broker.add_user(USER, PASSWORD)
    yield Secured(broker, trust, ours.certificate(), foreign.trust(), foreign.certificate())
    broker.stop()
