"""Plans with a replay beside the workers: a seed's cluster, a part of the log to replay, and the job's own faults."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.simulation.drills import CALM
from tests.simulation.plan import FAULT_SECONDS, JOB, PRODUCE_SECONDS, Fault, Plan, Produced, Wish, make
from tests.simulation.timeline import BEGINNING

_RUSH_SECONDS = 3.0


def make_replay(seed: int) -> Plan:
    """The plan of a seed, with a replay."""
    rng = random.Random(f"replay {seed}")
    plan = make(seed)
    wish = Wish(
        at=BEGINNING + rng.uniform(2.0, PRODUCE_SECONDS - _RUSH_SECONDS),
        parts=tuple(
            (rng.choice((0.0, 0.0, rng.random())), rng.choice((1.0, 1.0, rng.random()))) for _ in range(plan.partitions)
        ),
        attributes=rng.choice(((), (), (), ("p*",), ("p[012]", "tier"))),
        max_bytes=rng.choice((10_000_000, 10_000_000, 12_000, 4_000)),
        concurrency=rng.choice((1, 3, 8, 32)),
    )
    options = replace(plan.options, window_seconds=rng.choice((0.0, 0.0, 1.0, 5.0)))
    faults = [*(plan.faults if rng.random() < 0.6 else ()), *_faults(rng, wish)]
    records = _in_a_rush(rng, plan.records, wish.at) if rng.random() < 0.5 else plan.records
    faults.sort(key=lambda fault: fault.at)
    # With a record a turn, a worker that waits for memory would take in less than the closing rounds bring.
    records_max = max(7, plan.poll_records)
    return replace(plan, poll_records=records_max, options=options, wish=wish, records=records, faults=tuple(faults))


def _in_a_rush(rng: random.Random, records: tuple[Produced, ...], at: float) -> tuple[Produced, ...]:
    """All that would come later comes within a few seconds: what the job leaves behind, nothing covers up."""
    times = sorted(at + rng.uniform(0.0, _RUSH_SECONDS) for record in records if record.at > at)
    early = [record for record in records if record.at <= at]
    late = [record for record in records if record.at > at]
    return (*early, *(replace(record, at=when) for record, when in zip(late, times, strict=True)))


def _faults(rng: random.Random, wish: Wish) -> list[Fault]:
    faults = []
    for kind in JOB:
        for _ in range(rng.randint(1, 4) if rng.random() < 0.3 else 0):
            at = min(wish.at + rng.choice((rng.uniform(0.1, 3.0), rng.uniform(0.0, 20.0))), BEGINNING + FAULT_SECONDS)
            how = rng.choice(("amid", "between")) if kind == "job_frozen" else ""
            seconds = rng.choice((0.3, 1.0, 5.0, 14.0)) if kind == "job_frozen" else rng.uniform(0.5, 8.0)
            faults.append(Fault(at, seconds, kind, 0, how))
    return faults


def _amid_calls(seed: int, *faults: Fault) -> Plan:
    """Every user gets a newer value while the calls of some are in the air."""
    users, times = range(60), (_AT - 4.0, _AT + 0.8)
    records = [Produced(when, 0, user, "change", {"p0": when}, 0, 1) for when in times for user in users]
    return replace(
        CALM,
        seed=seed,
        options=replace(CALM.options, window_seconds=0.0, requests_per_second=150.0),
        latency_seconds=0.2,
        records=tuple(records),
        faults=faults,
        wish=Wish(_AT, ((0.0, 1.0),), (), 10_000_000, 8),
    )


_AT = BEGINNING + 5.0
DRILLS = tuple(
    _amid_calls(seed, *faults)
    for seed in range(8)
    for faults in (
        (),
        (Fault(_AT + 1.0, 0.1, "job_killed", 0, ""),),
        (Fault(_AT + 0.6, 9.0, "job_frozen", 0, "amid"),),
        (Fault(_AT + 0.6, 9.0, "job_reads_slowly", 0, ""),),
        (Fault(_AT + 0.3, 9.0, "notes_slow", 0, ""), Fault(_AT + 1.0, 0.1, "job_killed", 0, "")),
    )
)
"""Overtaken by live workers; and killed, frozen, or kept from reading and writing just then."""
