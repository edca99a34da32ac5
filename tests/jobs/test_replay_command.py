"""A replay through the command line, on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.brokers import RunningBroker
from tests.support.processes import SandboxCommand, until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    yield lab
    lab.end()


def replay(lab: Lab, sandbox: SandboxCommand, *options: str, status: int = 0) -> dict[str, Any]:
    command = lab.command("replay", *options, "--json", environment=lab.environment(sandbox.base_url))
    assert command.wait() == status, command.log.read_text()
    return dict(json.loads(command.output.read_text()))


def test_a_whole_topic(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 3)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    made = list(changes(1, events=2_000, users=300))
    lab.produce(made)
    sandbox = lab.sandbox()
    plan = replay(lab, sandbox, "--from", "earliest", "--dry-run")
    print(plan)
    assert sandbox.users() == []
    done = replay(lab, sandbox, "--from", "earliest")
    print(done)
    assert_equivalent(sandbox, made)
    assert plan["calls"] == done["calls"]
    again = replay(lab, sandbox, "--from", "earliest")
    print(again)
    assert again["calls"] == 0
