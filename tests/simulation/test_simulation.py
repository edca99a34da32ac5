"""Thousands of whole clusters in virtual time. Each seed is one cluster with its records and its mix of faults.

What is real in them and what is a model: cluster.py says it first. A failure prints the command that shows it again.
"""

from __future__ import annotations

import secrets

import pytest

from tests.simulation import drills, redrive_plan
from tests.simulation.__main__ import explained, report
from tests.simulation.kept import KEPT, KEPT_REDRIVES, KEPT_REPLAYS
from tests.simulation.plan import Plan, make
from tests.simulation.replay_plan import DRILLS
from tests.simulation.scenarios import REDRIVE, REPLAY, SCENARIOS, WORKERS
from tests.simulation.shrink import broken_by
from tests.support.marks import slow_after

_BATCH = 100


def keeps_every_promise(first: int, seeds: int, scenario: str = WORKERS) -> None:
    for seed in range(first, first + seeds):
        check = broken_by(SCENARIOS[scenario](seed))
        if check is not None:
            pytest.fail(report(scenario, seed, check), pytrace=False)


@pytest.mark.slow
def test_a_hundred_clusters_keep_every_promise() -> None:
    keeps_every_promise(0, _BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(_BATCH, 2_000, _BATCH))
def test_the_first_two_thousand_clusters_keep_every_promise(first: int) -> None:
    keeps_every_promise(first, _BATCH)


@pytest.mark.slow
def test_five_hundred_fresh_clusters_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    first = secrets.randbelow(1_000_000_000)
    with capsys.disabled():
        print(f"\nfresh seeds {first} to {first + 499}")  # noqa: T201 - so that the same seeds can be run again
    keeps_every_promise(first, 500)


@pytest.mark.parametrize("seed", slow_after(5, KEPT), ids=str)
def test_a_cluster_that_once_broke_a_promise_keeps_them_all(seed: int) -> None:
    """kept.py says which fault each seed once found."""
    keeps_every_promise(seed, 1)


@pytest.mark.slow
def test_forty_clusters_with_a_replay_keep_every_promise() -> None:
    keeps_every_promise(0, 40, REPLAY)


@pytest.mark.slow
def test_a_hundred_fresh_clusters_with_a_replay_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    first = secrets.randbelow(1_000_000_000)
    with capsys.disabled():
        print(f"\nfresh seeds with a replay {first} to {first + 99}")  # noqa: T201 - as above
    keeps_every_promise(first, 100, REPLAY)


@pytest.mark.parametrize("seed", slow_after(3, KEPT_REPLAYS), ids=str)
def test_a_replay_that_once_broke_a_promise_keeps_them_all(seed: int) -> None:
    keeps_every_promise(seed, 1, REPLAY)


@pytest.mark.parametrize("plan", slow_after(5, DRILLS))
def test_a_replay_that_is_killed_amid_calls_leaves_no_older_value(plan: Plan) -> None:
    assert broken_by(plan) is None, explained(plan)


@pytest.mark.slow
def test_forty_clusters_with_redrives_keep_every_promise() -> None:
    keeps_every_promise(0, 40, REDRIVE)


@pytest.mark.slow
def test_a_hundred_fresh_clusters_with_redrives_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    first = secrets.randbelow(1_000_000_000)
    with capsys.disabled():
        print(f"\nfresh seeds with redrives {first} to {first + 99}")  # noqa: T201 - as above
    keeps_every_promise(first, 100, REDRIVE)


@pytest.mark.parametrize("seed", slow_after(2, KEPT_REDRIVES), ids=str)
def test_a_redrive_that_once_broke_a_promise_keeps_them_all(seed: int) -> None:
    keeps_every_promise(seed, 1, REDRIVE)


@pytest.mark.parametrize("plan", slow_after(5, redrive_plan.AMID_CALLS))
def test_a_redrive_that_is_killed_amid_calls_leaves_no_older_value(plan: Plan) -> None:
    assert broken_by(plan) is None, explained(plan)


@pytest.mark.parametrize("plan", slow_after(1, redrive_plan.FALLING_BACK))
def test_a_redrive_amid_fallbacks_on_older_values_leaves_none_of_them(plan: Plan) -> None:
    assert broken_by(plan) is None, explained(plan)


@pytest.mark.parametrize("plan", slow_after(18, drills.ALL))
def test_a_drain_that_meets_trouble_keeps_every_promise(plan: Plan) -> None:
    assert broken_by(plan) is None, explained(plan)


def test_a_seed_is_the_same_run_every_time() -> None:
    assert explained(make(3)) == explained(make(3))
