"""Settings for `attribute-worker check`, with a broker and a sandbox behind them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.checking import TOKEN
from tests.support.brokers import RunningBroker, unique_name
from tests.support.profiles import schema_directory
from worker.sandbox.server import Sandbox
from worker.sandbox.service import Settings


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Settings(tokens=(TOKEN,))) as served:
        yield served


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: it is bound, but nothing listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def no_kafka(closed_port: int, sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Good settings, except that no broker answers."""
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port}",
        "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(tmp_path / "schemas")),
        "WORKER_ATTENTIVE__BASE_URL": sandbox.url,
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
    }


@pytest.fixture
def sound(no_kafka: dict[str, str], real_kafka: RunningBroker) -> dict[str, str]:
    """Good settings. The dead-letter topic does not exist yet."""
    topic = unique_name("changes")
    real_kafka.create_topic(topic, 3)
    return no_kafka | {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": real_kafka.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": topic,
        "WORKER_KAFKA__GROUP_ID": unique_name("group"),
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{topic}.dead-letter",
    }
