"""All workers together keep within the token's rate limit, and use it."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from typing import Self

import httpx
import pytest

from tests.end_to_end.conftest import Lab
from tests.support.processes import TOKEN, SandboxCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LIMIT = 50


def test_two_workers_share_the_limit_and_use_it(lab: Lab) -> None:
    """With a backlog: at least 85 % of the limit used, under 2 % of answers 429, no second over twice the limit."""
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


def test_workers_that_join_and_leave_stay_within_the_limit_together(lab: Lab) -> None:
    """Shares move with the partitions. Even in a handover no second is over the limit by more than a burst."""
    lab.broker.create_topic(lab.topic, 6)
    sandbox = lab.sandbox("--limit", "0", "--record")  # it counts requests, but answers no 429 that would slow a worker
    # With a backlog each drain lasts until its deadline, so this is a short one.
    extra = {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(LIMIT), "WORKER_SHUTDOWN__DRAIN_SECONDS": "2"}
    workers = [lab.worker(sandbox.base_url, extra)]
    workers[0].until_ready()
    lab.produce(Change(phone(user), {"loyalty_points": user}, user) for user in range(6_000))
    until(lambda: sandbox.stats()["requests"] > LIMIT, 30, "the backlog is being worked off")
    for _ in range(2):
        workers.append(lab.worker(sandbox.base_url, extra))
        until(lambda: all(worker.status()["partitions"] for worker in workers), 40, "everyone has partitions")
    share = 6 // len(workers)
    until(lambda: all(len(worker.status()["partitions"]) == share for worker in workers), 40, "equal shares")
    assert workers.pop(0).stop() == 1, "it must leave work, or there was no backlog"
    until(lambda: sum(len(worker.status()["partitions"]) for worker in workers) == 6, 40, "the others hold all again")
    _full_seconds(sandbox, 3)
    assert sandbox.stats()["users"] < 6_000, "the backlog must last to the end"
    assert sandbox.stats()["overlaps"] == 0

    times = sorted(request["received_at"] for request in sandbox.requests())
    busiest = max(bisect_right(times, at + 1) - index for index, at in enumerate(times))
    assert busiest <= 1.2 * LIMIT, f"{busiest} requests in a second"


def _full_seconds(sandbox: SandboxCommand, count: int) -> list[tuple[int, int, int]]:
    """The counts of `count` whole seconds from now on: (second, requests, throttled)."""
    first = int(time.time()) + 1
    until(lambda: time.time() >= first + count, count + 5, "the seconds pass", pause=0.5)
    return [tuple(row) for row in sandbox.stats()["per_second"] if first <= row[0] < first + count]


def test_the_worker_yields_to_another_program_with_the_same_token(lab: Lab) -> None:
    """That program takes half of the limit: few answers are 429, and the worker speeds up once it is gone.

    The limit is a little above the worker's own: alone, it may be late by a tenth of a second without a 429.
    """
    limit = LIMIT + 10
    lab.broker.create_topic(lab.topic, 4)
    sandbox = lab.sandbox("--limit", str(limit))
    worker = lab.worker(sandbox.base_url, {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(LIMIT)})
    lab.produce(Change(phone(user), {"loyalty_points": user}, user) for user in range(4_000))
    until(lambda: sandbox.stats()["requests"] > LIMIT, 60, "the backlog is being worked off")
    with Other(sandbox, per_second=limit / 2) as other:
        sandbox.faults([{"status": 429, "times": 10}])  # what replies tell of the second may be enough to get none
        until(lambda: other.sent > 5 * limit / 2, 30, "5 s in which the worker finds its share")
        assert worker.status()["totals"]["replies"].get("429", 0) > 0
        before, sent_before, worker_before = sandbox.stats(), other.sent, worker.status()["totals"]
        until(lambda: other.sent > sent_before + 20 * limit / 2, 60, "they have gone on for 20 s")
        after, worker_after = sandbox.stats(), worker.status()["totals"]
    requests = after["requests"] - before["requests"]
    throttled = worker_after["replies"].get("429", 0) - worker_before["replies"].get("429", 0)
    calls = worker_after["calls"] - worker_before["calls"]
    assert requests > 0.6 * limit * 20, requests
    assert throttled < 0.02 * calls, (throttled, calls)
    quick = 0.85 * LIMIT
    until(lambda: worker.status()["rate"]["current"] > quick, 60, "the whole share again")
    until(lambda: worker.events("full_rate_again"), 30, "a line when the rate is back")
    assert 1 <= len(worker.events("full_rate_again")) <= len(worker.events("throttled")) <= 4, "one a minute at most"


class Other:
    """Another program with the same token. It sends at its own pace and ignores 429s."""

    def __init__(self, sandbox: SandboxCommand, per_second: float) -> None:
        self._sandbox = sandbox
        self._pause = 1 / per_second
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        body = {"user": {"phone": phone(9_999_999)}, "properties": {"loyalty_points": 1}}
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            due = time.monotonic()
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                client.post(f"{self._sandbox.base_url}/attributes/custom", json=body)
                self.sent += 1
                due += self._pause
