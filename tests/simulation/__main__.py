"""The command line of the simulation: `scripts/simulate --seeds N --from SEED`. Begin with cluster.py to read it."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

import click

from tests.simulation.cluster import Cluster
from tests.simulation.plan import Plan
from tests.simulation.scenarios import SCENARIOS, WORKERS
from tests.simulation.shrink import broken_by, smallest

_EXAMPLES = """examples:
  scripts/simulate --seeds 2000 --from 0     the same two thousand clusters every time
  scripts/simulate --seconds 60              fresh clusters, as many as run in a minute
  scripts/simulate --seeds 1 --from 4711     one cluster again; if it fails, shrink its plan and print the trace
  scripts/simulate --trace --from 4711       one cluster again, with the trace of its whole run
  scripts/simulate --scenario replay         clusters with a replay beside the workers; all else as above
  scripts/simulate --scenario redrive        clusters with redrives beside the workers; all else as above"""


def main(arguments: list[str] | None = None) -> int:
    """Runs seeds. Returns the exit status: 1 if a seed fails, after its trace was printed."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Runs real workers in seeded, simulated clusters in virtual time, and checks their promises.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", choices=SCENARIOS, default=WORKERS, help=f"what runs (default {WORKERS})")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many (default 1000)")
    parser.add_argument("--from", type=int, dest="first", metavar="SEED", help="the first one (default: a random one)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after so long, however many seeds are left")
    parser.add_argument("--trace", action="store_true", help="print the trace of one seed's whole run and how it ended")
    given = parser.parse_args(arguments)
    first = secrets.randbelow(1_000_000_000) if given.first is None else given.first
    if given.trace:
        click.echo(explained(SCENARIOS[given.scenario](first)))
        return 0
    return run(given.scenario, first, given.seeds or (sys.maxsize if given.seconds else 1000), given.seconds)


def run(scenario: str, first: int, seeds: int, seconds: float | None) -> int:
    """Runs seeds in order, until one fails or the time is up. Returns the exit status."""
    started, used = time.monotonic(), time.process_time()
    done = 0
    for seed in range(first, first + seeds):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        check = broken_by(SCENARIOS[scenario](seed))
        if check is not None:
            click.echo(report(scenario, seed, check))
            return 1
        done += 1
    spent = time.process_time() - used
    click.echo(f"{done} seeds from {first} kept every promise: {done / spent * 60:.0f} seeds a minute")
    return 0


def report(scenario: str, seed: int, check: str) -> str:
    """Shrinks a failing seed's plan; returns the small plan's trace and the command that shows the failure again."""
    small = smallest(SCENARIOS[scenario](seed), check)
    again = f"scripts/simulate --scenario {scenario} --seeds 1 --from {seed}"
    return f"{explained(small)}\n\nseed {seed} breaks '{check}'; again: {again}"


def explained(plan: Plan) -> str:
    """Runs a plan; returns its trace and how it ended."""
    trace: list[str] = []
    try:
        outcome = Cluster(plan, trace).run()
    except Exception as failure:  # noqa: BLE001 - any exception of the worker is a finding
        ending = f"{type(failure).__name__}: {failure}"
    else:
        ending = f"kept every promise: {outcome.records} records, {outcome.calls} calls, {outcome.seconds:.0f} s"
    cluster = "eager" if plan.eager else "cooperative"
    head = f"{plan.workers} workers, {plan.partitions} partitions, {cluster}, {plan.options}"
    odd = f"not found {set(plan.not_found)}, unexpected {set(plan.unexpected)}, poison {set(plan.poison)}"
    job = [] if plan.wish is None else [str(plan.wish)]
    return "\n".join((head, odd, *job, *trace, ending))


if __name__ == "__main__":
    sys.exit(main())
