"""The command line of the chaos runs, on a real Kafka: `scripts/chaos --minutes M --seed S`."""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from tests.chaos.arena import Arena, Outcome, Protocol, Setup
from tests.chaos.plan import Kind, make
from tests.support.java import Unavailable

_TAIL_LINES = 15
_EXAMPLES = """examples:
  scripts/chaos --minutes 3 --seed 1          a short run
  scripts/chaos --minutes 60                  a long run with a fresh seed
  scripts/chaos --only WORKER_FREEZE_LONG     one kind of fault, again and again
  scripts/chaos --plan --minutes 3 --seed 1   print the faults of a run, without running it"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one seed. Returns the exit status: 1 if a promise was broken, 2 if no Kafka can be started."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Runs real workers against real brokers under seeded faults, and checks the worker's promises.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0, metavar="M", help="of traffic (default 3)")
    parser.add_argument("--seed", type=int, metavar="S", help="of plan and traffic (default: a random one)")
    parser.add_argument("--protocol", choices=["classic", "consumer"], help="of the group (default: by the seed)")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="WORKER_WINDOW__SECONDS (default: by the seed)")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in Kind], help="this kind of fault")
    parser.add_argument("--without", action="append", choices=[kind.name for kind in Kind], help="not this kind")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all logs here (default: only after a failure)")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    kinds = frozenset(Kind[name] for name in given.only) if given.only else frozenset(Kind)
    plan = make(seed, given.minutes * 60, kinds - {Kind[name] for name in given.without or ()})
    if given.plan:
        click.echo("\n".join(map(str, plan)))
        return 0
    setup = setup_of(seed, given.minutes * 60, given.protocol, given.window)
    directory = given.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the processes end with this one
    try:
        arena = Arena(setup, directory, _say)
    except Unavailable as reason:
        click.echo(f"Error: chaos needs a real Kafka: {reason}", err=True)
        return 2
    try:
        arena.start()
        outcome = arena.run(plan)
    finally:
        arena.close()
    click.echo(json.dumps(as_json(outcome)) if given.json else as_text(outcome))
    if outcome.problems:
        _show_tails(directory / "workers")
        click.echo(
            f"logs kept in {directory}; again: scripts/chaos --minutes {given.minutes:g} --seed {seed}", err=True
        )
        return 1
    if given.keep is None:
        shutil.rmtree(directory)
    return 0


def setup_of(seed: int, seconds: float, protocol: Protocol | None = None, window: float | None = None) -> Setup:
    """A run's setup. The seed decides the protocol and the window if they are not given.

    Some windows are longer than the session time-out: then changes wait while their partition moves to another worker.
    """
    dice = random.Random(f"setup {seed}")
    protocols: tuple[Protocol, ...] = ("classic", "consumer")
    chosen = dice.choice(protocols) if protocol is None else protocol
    waits = dice.choice((0.2, 1.0, 4.0, 9.0)) if window is None else window
    return Setup(seed, seconds, chosen, window_seconds=waits, poison=True)


def as_json(outcome: Outcome) -> dict[str, object]:
    """The report as one object."""
    return {**asdict(outcome), "repeated": outcome.findings.repeated, "problems": outcome.problems}


def as_text(outcome: Outcome) -> str:
    """The report for people."""
    setup, found = outcome.setup, outcome.findings
    settled = "never" if outcome.settled_seconds is None else f"{outcome.settled_seconds:.0f} s after the last fault"
    lines = [
        f"seed {setup.seed}, {setup.seconds / 60:g} minutes, {setup.protocol} group, window {setup.window_seconds:g} s",
        f"faults      {sum(outcome.faults.values())}: "
        + ", ".join(f"{name} {count}" for name, count in outcome.faults.items()),
        f"events      {outcome.events} of {setup.users} users",
        f"calls       {found.calls}: {found.delivered} acknowledged, {outcome.unauthorized} answered 401",
        f"saved       {outcome.events - found.delivered} calls; {found.busiest_second} in the busiest second",
        f"repeated    {found.repeated} calls told nothing new: "
        + (", ".join(f"{life} {count}" for life, count in found.repeated_by.most_common()) or "none"),
        f"age         {found.age_seconds_median:.1f} s in the median, {found.age_seconds_max:.1f} s at worst",
        f"settled     {settled}",
        f"workers     {outcome.lives} in all; when stopped, {outcome.stopped} drained and {len(outcome.cut)} were cut",
        f"overlaps    {len(found.overlaps)}, and {found.overlaps_of_frozen} with requests of a frozen worker",
        f"regressions {len(found.stale)} by former owners, {len(found.steps_back)} steps back",
        f"losses      {len(found.lost)}",
        f"commits     {outcome.commits}, {len(found.early)} too early",
        f"bad values  {outcome.bad}",
        f"poison      {outcome.poison} users, {found.given_up} of them in letters",
        f"letters     {sum(outcome.letters.values())}, {found.letters_repeated} of them again, "
        f"{len(found.wrong_letters)} wrong: "
        + ", ".join(f"{reason} {count}" for reason, count in outcome.letters.items()),
        *(f"BROKEN: {problem}" for problem in outcome.problems),
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show_tails(workers: Path) -> None:
    for log in sorted(workers.glob("*/stderr")):
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        click.echo("\n".join([f"== {log}", *lines]), err=True)


if __name__ == "__main__":
    sys.exit(main())
