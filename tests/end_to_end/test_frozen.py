"""A worker is frozen for longer than its session: when it wakes, its partitions belong to another worker."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.end_to_end.conftest import SESSION_MS, SHORT_SESSION, Lab, final_state
from tests.support.processes import until
from tests.support.profiles import Change, fold, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

USERS = 400


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_frozen_worker_sends_nothing_for_its_former_partitions(lab: Lab, protocol: str) -> None:
    """It freezes with calls due and in flight; another takes over and sends newer values; after the wake these stay."""
    extra = {**SHORT_SESSION, "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "2", "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "50"}
    if protocol == "consumer":  # the brokers' session time-out in the tests is 3 s
        extra |= {
            "WORKER_KAFKA__PROPERTIES": '{"group.protocol": "consumer"}',
            "WORKER_KAFKA__LEASE_SECONDS": "2",
            "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "1",
        }
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--record", "--limit", "0")
    old = [Change(phone(user), {"version": 1, f"old-{user % 7}": user}, user) for user in range(USERS)]
    new = [Change(phone(user), {"version": 2}, USERS + user) for user in range(USERS)]
    frozen = lab.worker(sandbox.base_url, extra)
    lab.produce(old)
    until(lambda: sandbox.stats()["requests"] > 20, 60, "the worker to freeze has begun")
    frozen.signal(signal.SIGSTOP)
    frozen_at = time.time()
    other = lab.worker(sandbox.base_url, extra)
    lab.produce(new)
    until(lambda: len(other.status()["partitions"]) == 4, 60, "the other has taken over")
    lab.until_committed(60)
    assert time.time() - frozen_at > SESSION_MS / 1000 - 3
    frozen.signal(signal.SIGCONT)
    woken_at = time.time()
    until(lambda: frozen.events("woke_up_late"), 20, "it notices that its lease ran out")
    until(lambda: frozen.status()["joined"] and frozen.status()["partitions"], 60, "it is a member again")
    lab.until_committed(30)

    late = [request for request in sandbox.requests() if request["received_at"] > woken_at and _old(request)]
    assert late == []
    assert final_state(sandbox) == fold([*old, *new])
    assert frozen.stop() == other.stop() == 0


def _old(request: dict[str, Any]) -> bool:
    return bool(request["applied"] and request["properties"].get("version") == 1)
