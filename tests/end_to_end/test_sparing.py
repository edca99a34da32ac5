"""Sparing by the command line: beside a worker without it, on the same topic, each with a sandbox of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.processes import WorkerCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 20_261_128
USERS = 200
ROUNDS = 12
UNCHANGED = 0.8
TIERS = ("gold", "silver", "bronze")


def rounds() -> Iterator[list[Change]]:
    """First every user appears. Then, round by round, each profile is written anew, mostly with the values it had."""
    rng = random.Random(SEED)
    profiles = {user: {"tier": "gold", "loyalty_points": 0} for user in range(USERS)}
    for number in range(ROUNDS + 1):
        for user in range(USERS) if number else ():
            if rng.random() >= UNCHANGED:
                others = [tier for tier in TIERS if tier != profiles[user]["tier"]]
                profiles[user] = {"tier": rng.choice(others), "loyalty_points": number}
        yield [Change(phone(user), dict(profile), number * USERS + user) for user, profile in profiles.items()]


def test_at_80_percent_unchanged_values_at_most_30_percent_of_the_calls_are_made(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 3)
    plain, sparing = lab.sandbox("--limit", "0"), lab.sandbox("--limit", "0")
    common = {"WORKER_WINDOW__SECONDS": "0", "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "2000"}
    without = lab.worker(plain.base_url, {**common, "WORKER_KAFKA__GROUP_ID": f"{lab.group}-without"})
    worker = lab.worker(sparing.base_url, {**common, "WORKER_SPARING__USERS_MAX": "1000"})
    made: list[Change] = []
    for changes in rounds():
        made += changes
        lab.produce(changes)
        for one in (without, worker):
            until_settled(one, len(made))

    assert plain.stats()["requests"] == len(made)
    assert sparing.stats()["requests"] <= 0.3 * len(made), sparing.stats()["requests"]
    assert_equivalent(plain, made)
    assert_equivalent(sparing, made)
    status = worker.status()
    totals = status["totals"]
    assert totals["calls"] == sparing.stats()["requests"]
    assert totals["calls_saved"] == totals["spared_changes"] == len(made) - totals["calls"]
    assert totals["spared_values"] == 2 * totals["spared_changes"]
    assert status["remembered_users"] == USERS
    metrics = httpx.get(f"{worker.url}/metrics").text
    assert f"attribute_worker_spared_changes_total {totals['spared_changes']}.0" in metrics
    lab.until_committed(30)
    assert worker.stop() == 0


def until_settled(worker: WorkerCommand, changes: int) -> None:
    def settled() -> bool:
        status = worker.status()
        return bool(status["totals"]["changes"] == changes and status["open_entries"] == 0)

    until(settled, 60, f"{changes} settled changes")
