"""Shrinks a failing plan: takes away whatever the failure of the same check does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.simulation.cluster import Cluster
from tests.simulation.plan import Plan, without
from tests.simulation.promises import PromiseBroken

RUNS_MAX = 600


def broken_by(plan: Plan) -> str | None:
    """Runs a plan; the name of the check that failed, or None. For any other exception, the name of its type."""
    try:
        Cluster(plan).run()
    except PromiseBroken as failure:
        return failure.check
    except Exception as failure:  # noqa: BLE001 - any exception of the worker is a finding
        return type(failure).__name__
    return None


def smallest(plan: Plan, check: str) -> Plan:
    """A smaller plan that fails the same check. Removes faults, users, records, attributes, workers, in this order.

    Stops after RUNS_MAX runs.
    """
    budget = RUNS_MAX

    def still(candidate: Plan) -> bool:
        nonlocal budget
        budget -= 1
        return budget > 0 and broken_by(candidate) == check

    plan = _thinned(plan, range(len(plan.faults)), lambda kept, gone: without(kept, faults=gone), still)
    for user in sorted({record.user for record in plan.records}):
        gone = frozenset(index for index, record in enumerate(plan.records) if record.user == user)
        candidate = without(plan, records=gone)
        if still(candidate):
            plan = candidate
    plan = _thinned(plan, range(len(plan.records)), lambda kept, gone: without(kept, records=gone), still)
    for attributes in range(len(plan.records)):
        plan = _fewer_attributes(plan, attributes, still)
    for workers in range(1, plan.workers):
        if still(replace(plan, workers=workers)):
            return replace(plan, workers=workers)
    return plan


def _thinned(
    plan: Plan, indexes: Iterable[int], remove: Callable[[Plan, frozenset[int]], Plan], still: Callable[[Plan], bool]
) -> Plan:
    """Removes stretches of items: first halves of them all, then ever shorter ones, single items last."""
    kept = list(indexes)
    whole = frozenset(kept)
    size = max(1, len(kept) // 2)
    while kept:
        start = 0
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if still(remove(plan, whole.difference(rest))):
                kept = rest
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return remove(plan, whole.difference(kept))


def _fewer_attributes(plan: Plan, index: int, still: Callable[[Plan], bool]) -> Plan:
    for name in list(plan.records[index].attributes):
        record = plan.records[index]
        fewer = replace(record, attributes={key: value for key, value in record.attributes.items() if key != name})
        candidate = replace(plan, records=(*plan.records[:index], fewer, *plan.records[index + 1 :]))
        if still(candidate):
            plan = candidate
    return plan
