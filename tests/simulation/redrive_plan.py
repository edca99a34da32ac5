"""Plans with redrives beside the workers: the destination begins to take a value that it has refused before."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.simulation.drills import CALM
from tests.simulation.plan import BAD_TIERS, GOOD_TIERS, LATE_TIER, TIER, Fault, Plan, Produced, Wish
from tests.simulation.replay_plan import make_replay
from tests.simulation.timeline import BEGINNING


def make_redrive(seed: int) -> Plan:
    """The plan of a seed, with redrives.

    Without users of whom no call ever succeeds, without users in two partitions, and without retention: what becomes of
    their letters is open.
    """
    rng = random.Random(f"redrive {seed}")
    plan = make_replay(seed)
    assert plan.wish is not None  # as every plan with a replay
    wish = replace(
        plan.wish,
        parts=(),
        attributes=(),
        max_bytes=rng.choice((10_000_000, 10_000_000, 20_000, 8_000)),
        extended_at=plan.wish.at + rng.uniform(-6.0, 6.0),
    )
    return replace(
        plan,
        options=replace(plan.options, storm_letters_max=1_000, calls_per_entry_max=40, max_bytes=10_000_000),
        not_found=frozenset(),
        unexpected=frozenset(),
        poison=frozenset(),
        odd_users={},
        shared=frozenset(),
        records=tuple(_lacking(rng, plan, record) for record in plan.records),
        faults=tuple(fault for fault in plan.faults if fault.kind != "retain"),
        wish=wish,
    )


def _lacking(rng: random.Random, plan: Plan, record: Produced) -> Produced:
    """The record in its user's partition, more often with a value that the destination refuses."""
    attributes = dict(record.attributes)
    if record.kind == "change" and rng.random() < 0.4:
        attributes[TIER] = rng.choice((*BAD_TIERS, LATE_TIER, rng.choice(GOOD_TIERS)))
    return replace(record, partition=record.user % plan.partitions, attributes=attributes)


_AT = BEGINNING + 8.0
_TIERS = ("gold", "tin", LATE_TIER)  # what an entry has: it falls back on the first


def _amid_calls(seed: int, *faults: Fault) -> Plan:
    """Every user has a letter, and gets a newer value while the calls of some are in the air."""
    values = ((_AT - 6.0, LATE_TIER), (_AT + 1.4, "gold"))
    records = [Produced(when, 0, user, "change", {TIER: tier}, 0, 1) for when, tier in values for user in range(60)]
    return replace(
        CALM,
        seed=seed,
        options=replace(CALM.options, window_seconds=0.0, requests_per_second=150.0, storm_letters_max=1_000),
        latency_seconds=0.2,
        records=tuple(records),
        faults=faults,
        wish=Wish(_AT, (), (), 10_000_000, 8, extended_at=_AT - 1.0),
    )


def _falls_back(seed: int) -> Plan:
    """Slow calls: while a worker falls back on older values, its letters are redriven."""
    records = [Produced(_AT - 2.2, 0, user, "change", {TIER: tier}, 0, 1) for user in range(30) for tier in _TIERS]
    return replace(
        CALM,
        seed=seed,
        options=replace(CALM.options, window_seconds=1.0, storm_letters_max=1_000, concurrency=32),
        latency_seconds=0.7,
        records=tuple(records),
        wish=Wish(_AT, (), (), 10_000_000, 32, extended_at=_AT - 0.1),
    )


AMID_CALLS = tuple(
    _amid_calls(seed, *faults)
    for seed in range(8)
    for faults in (
        (),
        (Fault(_AT + 1.6, 0.1, "job_killed", 0, ""),),
        (Fault(_AT + 1.2, 9.0, "job_frozen", 0, "amid"),),
        (Fault(_AT + 1.2, 9.0, "job_reads_slowly", 0, ""),),
        (Fault(_AT + 0.3, 9.0, "letters_slow", 0, ""), Fault(_AT + 3.0, 0.1, "job_killed", 0, "")),
    )
)
"""Overtaken by live workers; and killed, frozen, or kept from reading and writing just then."""

FALLING_BACK = tuple(map(_falls_back, range(4)))

DRILLS = (*AMID_CALLS, *FALLING_BACK)
