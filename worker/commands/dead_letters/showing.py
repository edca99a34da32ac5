"""`attribute-worker dead-letters show`."""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from worker.commands.dead_letters.options import stopped_early, tell_odd
from worker.commands.dead_letters.words import document, printable
from worker.commands.job import UNFINISHED_EXIT, job
from worker.jobs.letters import Found
from worker.jobs.when import Unreadable
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.wiring import mending

_NAMED_MAX: Final = 10
_ID_SHOWN_MAX: Final = 64


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker dead-letters show 3f9a
  attribute-worker dead-letters show 3f9ac81e --values --json | jq .response""",
)
@settings_options
@click.argument("beginning", metavar="ID")
@click.option("--values", is_flag=True, help="Show identifiers and values, too, and the record itself.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(loaded: Loaded, *, beginning: str, values: bool, as_json: bool) -> None:
    """Show one dead letter, open or not. A unique beginning of its ID will do.

    Exit status: 0 shown; 1 there is no such letter, or the topic could not be read; 2 bad usage or configuration, or
    several letters begin so.
    """
    with job(loaded.settings, "dead_letters") as begun:
        if not beginning:
            raise Unreadable("say which letter: its ID, or the beginning of it")
        book = mending.letter_book(loaded.settings, begun.log)
        letters: list[Found] = []
        others = 0
        for found in book.letters(begun.stopped, lambda each: each.startswith(beginning)):
            if found.letter.id == beginning:  # another id may begin with this whole one
                letters, others = [found], 0
                break
            if len(letters) < _NAMED_MAX:
                letters.append(found)
            else:
                others += 1
        tell_odd(book.odd)
        if begun.stop.requested:
            stopped_early("nothing is shown")
        if not letters:
            topic = loaded.settings.kafka.dead_letter_topic
            click.echo(f"Error: {topic} has no such letter: `dead-letters list --all` shows the ids", err=True)
            sys.exit(UNFINISHED_EXIT)
        if len(letters) > 1:
            ids = ", ".join(printable(found.letter.id[:_ID_SHOWN_MAX]) for found in letters)
            raise Unreadable(f"several letters begin so: {ids}" + (f" and {others} more" if others else ""))
        shown = document(letters[0], values=values)
        click.echo(json.dumps(shown, ensure_ascii=False) if as_json else "\n".join(_lines(shown)))
        if not values:
            click.echo("Identifiers and values are left out: --values shows them", err=True)


def _lines(shown: dict[str, object]) -> list[str]:
    """A line for each field, and for each item of a list."""
    width = max(map(len, shown))
    lines = []
    for name, content in shown.items():
        items = content if isinstance(content, list) and content else [content]
        for number, item in enumerate(items):
            lines.append(f"{name if number == 0 else '':<{width}}  {_text(item)}")
    return lines


def _text(item: object) -> str:
    if item is None or item == []:
        return "none"
    if isinstance(item, dict):
        return "  ".join(f"{name}={_text(each)}" for name, each in item.items())
    return printable(item) if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
