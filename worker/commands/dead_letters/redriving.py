"""`attribute-worker dead-letters redrive`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import click

from worker.commands.dead_letters.options import Filters, filter_options, tell_odd
from worker.commands.dead_letters.words import printable
from worker.commands.job import UNFINISHED_EXIT, job, metrics_port_option
from worker.core.counted import counted
from worker.core.letters.folding import DELIVERED, REFUSED_AGAIN, SUPERSEDED
from worker.ops.job_board import JobBoard
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.wiring import parts
from worker.wiring.redrive import RedriveParts, RedriveTask
from worker.wiring.redrive import redrive as build
from worker.wiring.watch import watched


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker dead-letters redrive --attribute tier --dry-run      what it would do
  attribute-worker dead-letters redrive --attribute tier                do it
  attribute-worker dead-letters redrive --reason undecodable --raw      after a schema or the mapping was mended""",
)
@settings_options
@filter_options
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Calls a second. Default: what live traffic leaves.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would do. Makes no call, writes nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Also letters whose records the source topic no longer has, or live workers have not committed yet.",
)
@click.option("--raw", is_flag=True, help="Decode undecodable records again, with today's schemas and mapping.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@metrics_port_option
def redrive(
    loaded: Loaded,
    *,
    rate: float | None,
    dry_run: bool,
    force: bool,
    raw: bool,
    as_json: bool,
    metrics_port: int | None,
    **typed: Any,  # noqa: ANN401 - click gives what the options declare
) -> None:
    """Send open dead letters again, once their cause is mended.

    Reads the source topic from the letters on, and sends only attributes that have no later change in it. Then it
    writes into the dead-letter topic how each letter ended: delivered, superseded, or refused again; that one is open
    anew, with one attempt more. Kill it at any time: the same command goes on with what is still open.

    Safe beside live workers: the newest value stands in the end. For about ten seconds it waits for them to commit the
    letters' records; letters whose records they have not committed by then stay open for the next run.

    Exit status: 0 done; 1 not finished, the same command goes on; 2 bad usage or configuration.
    """

    def say(text: str) -> None:
        """Beside the result, which is on stdout."""
        click.echo(text, err=True)

    with job(loaded.settings, "redrive", advice=". The same command goes on.") as begun:
        wanted = Filters(**typed).read(loaded.settings)
        task = RedriveTask(wanted, rate, dry_run, force, raw, begun.stopped, say)
        who, board = parts.identity(loaded.settings), JobBoard("dead-letters redrive", "redrive")
        with (
            watched(loaded.settings, who, board, metrics_port, begun.log),
            build(loaded.settings, task, board, begun.log) as built,
        ):
            done = built.job.run(begun.stopped)
            if done:
                board.finish()
            _tell_untried(built)
            _tell(built, dry=dry_run, as_json=as_json)
        if not done:
            left = built.letters.total - sum(_untried(built)) - built.redrive.ended
            say(f"Error: stopped: at least {counted(left, 'letter')} left; the same command goes on")
            sys.exit(UNFINISHED_EXIT)


def _untried(built: RedriveParts) -> tuple[int, int]:
    return built.letters.skipped.total(), built.letters.unchecked.total()


def _tell_untried(built: RedriveParts) -> None:
    """Says on stderr, for each reason, how many letters are not tried."""
    tell_odd(built.letters.odd)

    def tell(counts: Counter[str], what: str) -> None:
        for why, count in sorted(counts.items()):
            click.echo(f"{counted(count, 'letter')} {what}: {printable(why)}", err=True)

    tell(built.letters.skipped, "skipped")
    tell(built.letters.unchecked, "not checked, so open still (--force sends them)")


def _tell(built: RedriveParts, *, dry: bool, as_json: bool) -> None:
    outcomes, (skipped, unchecked) = built.redrive.outcomes, _untried(built)
    counts = {
        "letters": built.letters.total,
        "delivered": outcomes[DELIVERED],
        "superseded": outcomes[SUPERSEDED],
        "refused_again": outcomes[REFUSED_AGAIN],
        "skipped": skipped,
        "unchecked": unchecked,
        "calls": built.redrive.calls if dry else built.job.totals.calls,
    }
    if counts["refused_again"]:
        click.echo("What was refused again is open anew: `dead-letters show ID` says what was answered", err=True)
    if as_json:
        click.echo(json.dumps({**counts, "dry_run": dry}))
        return
    delivered, again = ("would be sent", "") if dry else ("delivered", f"{counts['refused_again']:,} refused again, ")
    click.echo(
        f"{counted(counts['letters'], 'letter')}: {counts['delivered']:,} {delivered}, {counts['superseded']:,} "
        f"superseded by later changes, {again}{skipped:,} skipped, {unchecked:,} not checked; "
        f"{counted(counts['calls'], 'call')}"
    )
