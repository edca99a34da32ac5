"""A destination that fails, refuses or is silent for a while: the worker waits, says why, and goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.ports import reserved_port
from tests.support.processes import TOKEN, SandboxCommand, WorkerCommand, until
from tests.support.profiles import Change, changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 7
NOT_FOUND = {"status": 404, "error": "Not Found", "path": "/v1/x", "message": "No static resource v1/x."}


@dataclass(frozen=True)
class Trouble:
    """What the destination does, the reason that the worker must give, and how long the trouble lasts."""

    faults: Sequence[Mapping[str, object]]
    reason: str
    seconds: float = 6


TROUBLES = {
    "forbidden": Trouble([{"status": 403, "body": ""}], "unauthorized"),
    "unavailable": Trouble([{"status": 503}], "unavailable"),
    "never-answers": Trouble([{"delay": 3600}], "unavailable"),
    "resets": Trouble([{"drop": True}], "unavailable"),
    "redirects": Trouble([{"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}], "wrong_url"),
    "wrong-url": Trouble([{"status": 404, "body": NOT_FOUND}], "wrong_url"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_the_worker_waits_for_a_destination_in_trouble(lab: Lab, name: str) -> None:
    """`/readyz` answers 503 with the reason; few probes, no dead letter; deliveries go on without any help."""
    trouble = TROUBLES[name]
    sandbox, worker, made = _started(lab)
    sandbox.faults(trouble.faults)
    lab.produce(made[100:])
    _until_halted(worker, trouble.reason, since=time.monotonic())
    _hold(worker, sandbox, trouble)
    sandbox.faults([])
    _recovers(lab, worker, sandbox, made)


def test_after_its_token_expires_the_worker_waits_for_a_new_one_in_the_file(lab: Lab, tmp_path: Path) -> None:
    """401 with an empty body for 30 s, then a new token in the file: no restart is needed."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    extra = {"WORKER_ATTENTIVE__TOKEN": "", "WORKER_ATTENTIVE__TOKEN_FILE": str(token_file)}
    sandbox, worker, made = _started(lab, extra)
    sandbox.tokens("another-token")
    lab.produce(made[100:])
    _until_halted(worker, "unauthorized", since=time.monotonic())
    _hold(worker, sandbox, Trouble([], "unauthorized", seconds=30))
    token_file.write_text("another-token\n")
    _recovers(lab, worker, sandbox, made)
    log = worker.log.read_text()
    assert "another-token" not in log
    assert TOKEN not in log


def test_the_worker_waits_for_a_destination_that_is_not_up_yet(lab: Lab) -> None:
    """Connections are refused from the start."""
    port = reserved_port()
    made = list(changes(SEED, events=300, users=60))
    lab.broker.create_topic(lab.topic, 3)
    worker = lab.worker(f"http://127.0.0.1:{port}/v1")
    lab.produce(made)
    until(lambda: worker.status()["last_error"], 30, "the first refused connection")
    _until_halted(worker, "unavailable", since=time.monotonic())
    sandbox = lab.sandbox_at(port)
    _recovers(lab, worker, sandbox, made)


def _started(lab: Lab, extra: Mapping[str, str] | None = None) -> tuple[SandboxCommand, WorkerCommand, list[Change]]:
    """A worker that has delivered its first changes."""
    made = list(changes(SEED, events=600, users=60))
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, extra)
    lab.produce(made[:100])
    until(lambda: worker.status()["totals"]["delivered_entries"], 40, "the first delivery")
    return sandbox, worker, made


def _until_halted(worker: WorkerCommand, reason: str, since: float) -> None:
    until(lambda: worker.ready().status_code == 503, 10, f"not ready: {reason}")
    assert time.monotonic() - since < 15
    assert worker.ready().json()["reason"] == reason
    status = worker.status()
    assert (status["state"], status["rate"]["current"]) == ("halted", 0.0), "only single probes are allowed"
    assert status["halt"]["reason"] == reason


def _hold(worker: WorkerCommand, sandbox: SandboxCommand, trouble: Trouble) -> None:
    """Lets the trouble last: the worker must stay halted and in its group, and make few calls."""
    before = sandbox.stats()["requests"]
    ends = time.monotonic() + trouble.seconds
    until(lambda: time.monotonic() > ends, trouble.seconds + 5, "the trouble lasts", pause=0.5)
    assert worker.ready().json()["reason"] == trouble.reason
    assert sum(1 for _ in worker.status()["partitions"]) == 3
    assert worker.events("halted")[-1]["reason"] == trouble.reason
    assert sandbox.stats()["requests"] - before <= trouble.seconds + 5, "more calls than single, ever rarer probes"


def _recovers(lab: Lab, worker: WorkerCommand, sandbox: SandboxCommand, made: Iterable[Change]) -> None:
    until(lambda: worker.ready().status_code == 200, 30, "ready again")
    lab.until_committed(60)
    assert_equivalent(sandbox, made)
    assert lab.dead_letters() == []
    assert worker.stop() == 0
