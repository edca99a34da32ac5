"""`attribute-worker dead-letters dismiss`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from worker.commands.dead_letters.options import Filters, filter_options, stopped_early, tell_odd
from worker.commands.dead_letters.words import line
from worker.commands.job import Job, job
from worker.core.counted import counted
from worker.core.letters.folding import DISMISSED, OPEN
from worker.jobs.letters import Found
from worker.jobs.resolving import NotWritten
from worker.jobs.when import Unreadable
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.model import Settings
from worker.wiring import mending


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker dead-letters dismiss --reason sensitive_data --dry-run
  attribute-worker dead-letters dismiss --source profile-changes/3 --until 2026-03-01
  attribute-worker dead-letters dismiss --since earliest       all that are open""",
)
@settings_options
@filter_options
@click.option("--dry-run", is_flag=True, help="Show what would be dismissed, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the counts.")
def dismiss(loaded: Loaded, *, dry_run: bool, as_json: bool, **typed: Any) -> None:  # noqa: ANN401 - click gives what the options declare
    """End open dead letters that need no delivery. At least one filter is required.

    Writes a record into the topic for each of them, which says `resolved` and `dismissed`. Nothing is deleted. Stopped
    or killed, it may be run again: what is dismissed stays so.

    Exit status: 0 done; 1 some are left; 2 bad usage or configuration.
    """
    settings = loaded.settings
    with job(settings, "dead_letters") as begun:
        filters = Filters(**typed)
        if filters.none_given:
            # Nobody should end everything by leaving something out.
            raise Unreadable("say which letters to dismiss, by at least one filter; --since earliest means all")
        wanted = filters.read(settings)
        book = mending.letter_book(settings, begun.log)
        meant = (found for found in book.letters(begun.stopped) if found.state == OPEN and wanted.fits(found.letter))
        try:
            count = _shown(meant, quiet=as_json) if dry_run else _dismissed(settings, meant, begun)
        finally:
            tell_odd(book.odd)
        if begun.stop.requested:
            stopped_early(
                f"{counted(count, 'letter')} {'found' if dry_run else 'dismissed'}; run it again for the rest"
            )
        if as_json:
            click.echo(json.dumps({"letters": count, "dismissed": 0 if dry_run else count, "dry_run": dry_run}))
        else:
            click.echo(f"{counted(count, 'letter')} {'would be ' if dry_run else ''}dismissed")


def _shown(meant: Iterable[Found], *, quiet: bool) -> int:
    count = 0
    for found in meant:
        count += 1
        if not quiet:
            click.echo(line(found, values=False))
    return count


def _dismissed(settings: Settings, meant: Iterable[Found], begun: Job) -> int:
    """Writes the records, and returns how many letters are ended."""
    with mending.resolving(settings, begun.stopped, begun.log) as resolving:
        try:
            for found in meant:
                resolving.end(found.letter, DISMISSED)
            resolving.close()
        except NotWritten as error:
            raise NotWritten(
                f"{counted(resolving.written, 'letter')} dismissed, then a record was not written: {error}; "
                "run it again for the rest"
            ) from None
        return resolving.written
