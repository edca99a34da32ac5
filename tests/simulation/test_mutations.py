"""Proof that the checks can fail: each deliberate fault in the worker is caught within two thousand seeds.

The plan that catches it is then run once more on the worker as it is: a plan that fails by itself catches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest

from tests.simulation import drills, redrive_mutations, redrive_plan, replay_mutations
from tests.simulation.cluster import Cluster
from tests.simulation.mutations import ALL
from tests.simulation.plan import Plan, make
from tests.simulation.promises import PromiseBroken
from tests.simulation.replay_plan import DRILLS, make_replay
from tests.simulation.sparing_mutations import Mutation

pytestmark = pytest.mark.slow

SEEDS_MAX = 2_000
REPLAY_SEEDS_MAX = 100


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.__name__)
def test_a_deliberate_fault_is_caught(mutation: Mutation) -> None:
    is_caught(mutation, chain(drills.ALL, (make(seed) for seed in range(SEEDS_MAX))))


@pytest.mark.parametrize("mutation", replay_mutations.ALL, ids=lambda mutation: mutation.__name__)
def test_a_deliberate_fault_of_a_replay_is_caught(mutation: Mutation) -> None:
    is_caught(mutation, chain(DRILLS, (make_replay(seed) for seed in range(REPLAY_SEEDS_MAX))))


@pytest.mark.parametrize("mutation", redrive_mutations.ALL, ids=lambda mutation: mutation.__name__)
def test_a_deliberate_fault_of_a_redrive_is_caught(mutation: Mutation) -> None:
    is_caught(mutation, chain(redrive_plan.DRILLS, map(redrive_plan.make_redrive, range(REPLAY_SEEDS_MAX))))


def is_caught(mutation: Mutation, plans: Iterable[Plan]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutation(patch)
        plan = next((plan for plan in plans if caught(plan)), None)
    assert plan is not None, f"not caught: {mutation.__doc__}"
    Cluster(plan).run()


def caught(plan: Plan) -> bool:
    """Whether a check catches it. A mutated worker that merely crashes (KeyError ...) says nothing of the checks."""
    try:
        Cluster(plan).run()
    except PromiseBroken:
        return True
    except (KeyError, AttributeError, ValueError):
        return False
    return False
