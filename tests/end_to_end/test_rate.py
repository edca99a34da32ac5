"""The token's rate is shared by all workers, and used."""

from __future__ import annotations

import time

import pytest

from tests.end_to_end.conftest import Lab
from tests.support.processes import SandboxCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LIMIT = 50


def test_two_workers_share_the_limit_and_use_it(lab: Lab) -> None:
    """With a backlog: at least 85 % of the limit used, under 2 % of answers 429, no second above twice the limit."""
    users = 2_000
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--limit", str(LIMIT))
    extra = {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(LIMIT)}
    first, second = (lab.worker(sandbox.base_url, extra) for _ in range(2))
    until(
        lambda: len(first.status()["partitions"]) == len(second.status()["partitions"]) == 2, 40, "two partitions each"
    )
    lab.produce(Change(phone(user), {"loyalty_points": user}, user) for user in range(users))
    until(lambda: sandbox.stats()["requests"] > LIMIT, 30, "the backlog is being worked off")
    seconds = _full_seconds(sandbox, 20)

    requests = [count for _, count, _ in seconds]
    throttled = sum(count for _, _, count in seconds)
    assert sum(requests) >= 0.85 * LIMIT * len(seconds), requests
    assert throttled < 0.02 * sum(requests), (throttled, sum(requests))
    assert max(requests) <= 2 * LIMIT, requests
    for worker in (first, second):
        assert worker.status()["rate"]["share"] == LIMIT / 2


def _full_seconds(sandbox: SandboxCommand, count: int) -> list[tuple[int, int, int]]:
    """The counts of `count` whole seconds from now on: (second, requests, throttled)."""
    first = int(time.time()) + 1
    until(lambda: time.time() >= first + count, count + 5, "the seconds pass", pause=0.5)
    return [tuple(row) for row in sandbox.stats()["per_second"] if first <= row[0] < first + count]
