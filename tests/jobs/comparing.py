"""`verify` as a command: what is written, what is held, and what it says."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import httpx
from fastavro import parse_schema, schemaless_writer

from tests.end_to_end.conftest import Lab
from tests.support.processes import TOKEN, Command, SandboxCommand
from tests.support.producers import ordered_producer
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID

PARTITIONS = 3
LONG_AGO_SECONDS = 3_600.0
STATE: Mapping[str, object] = {
    "points": 1_250,
    "total": 50.5,
    "vip": True,
    "birthday": date(1986, 11, 16),
    "store": "North",
}
_PARSED = parse_schema(PROFILE_CHANGED)


class Said(NamedTuple):
    """A change in the topic."""

    user: Mapping[str, object]
    attributes: Mapping[str, object]
    age_seconds: float = LONG_AGO_SECONDS


class Result(NamedTuple):
    """What `verify --json` printed, and its exit status."""

    status: int
    findings: list[dict[str, Any]]
    counts: dict[str, Any]
    notes: str

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """With `--values`: who or what differs, and how."""
        return {(f"{each.get('user', '')} {each['attribute']}".strip(), each["finding"]) for each in self.findings}


def write(lab: Lab, *said: Said) -> None:
    """Writes changes, each user's to one partition."""
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for number, (user, attributes, age_seconds) in enumerate(said):
        now_ms = int((time.time() - age_seconds) * 1000)
        body = io.BytesIO(b"\0" + SCHEMA_ID.to_bytes(4, "big"))
        body.seek(0, io.SEEK_END)
        event = {"event_id": f"e-{number}", "user": user, "attributes": attributes, "occurred_at": now_ms}
        schemaless_writer(body, _PARSED, event)
        producer.produce(lab.topic, body.getvalue(), json.dumps(user).encode(), timestamp=now_ms)
    assert producer.flush(30) == 0


def hold(sandbox: SandboxCommand, user: Mapping[str, object], attributes: Mapping[str, object]) -> None:
    """Sets what the destination holds of a user."""
    answer = httpx.post(
        f"{sandbox.base_url}/attributes/custom",
        content=json.dumps({"user": user, "properties": attributes}, default=str),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text


def verify(lab: Lab, sandbox: SandboxCommand, *options: str, **settings: str) -> Result:
    environment = lab.environment(sandbox.base_url, settings)
    return result(lab.command("verify", "--json", *options, environment=environment))


def result(command: Command) -> Result:
    """What `verify --json` said in the end."""
    status = command.wait(120)
    lines = [json.loads(line) for line in command.output.read_text().splitlines()]
    return Result(status, lines[:-1], lines[-1] if lines else {}, command.log.read_text())


def counts(**given: int) -> dict[str, int]:
    return {name: given.get(name, 0) for name in ("missing", "different", "unexpected", "unreadable", "repaired")}


def assert_counts(result: Result, **given: int) -> None:
    assert {name: result.counts[name] for name in counts()} == counts(**given), (result, given)
