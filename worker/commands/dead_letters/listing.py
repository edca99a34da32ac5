"""`attribute-worker dead-letters list`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any, Final

import click

from worker.commands.dead_letters.options import Filters, filter_options, stopped_early, tell_odd
from worker.commands.dead_letters.words import document, line, printable
from worker.commands.job import job
from worker.core.counted import counted
from worker.core.letters.folding import OPEN
from worker.jobs.letters import Found
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.wiring import mending

_NAMES_MAX: Final = 10_000
_OTHERS: Final = "(others)"


class Summary:
    """Counts letters by reason and attribute. Names past a bound are counted together: anybody may write letters."""

    def __init__(self) -> None:
        self.letters = 0
        self.reasons: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str | None]] = Counter()

    def take(self, found: Found) -> None:
        """Counts a letter: once for its reason, and once for each of its attributes."""
        reason = found.letter.reason.value
        self.letters += 1
        self.reasons[reason] += 1
        names: set[str | None] = {attribute.name for attribute in found.letter.attributes}
        for name in names or {None}:
            pair = (reason, name)
            known = pair in self.pairs or len(self.pairs) < _NAMES_MAX
            self.pairs[pair if known else (reason, _OTHERS)] += 1

    def document(self) -> dict[str, object]:
        """As JSON."""
        by = [{"reason": reason, "attribute": name, "letters": of} for (reason, name), of in self.pairs.most_common()]
        return {"letters": self.letters, "reasons": dict(self.reasons.most_common()), "attributes": by}

    def lines(self) -> list[str]:
        """For people."""
        lines = []
        for reason, count in self.reasons.most_common():
            lines.append(f"{count:>9,}  {reason}")
            named = [(name, of) for (why, name), of in self.pairs.most_common() if why == reason and name is not None]
            lines += [f"{of:>9,}    {printable(name)}" for name, of in named]
        return [*lines, f"{self.letters:>9,}  {'letter' if self.letters == 1 else 'letters'} in all"]


@click.command(
    "list",
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker dead-letters list --summary
  attribute-worker dead-letters list --reason rejected --attribute 'loyalty_*' --since -1d
  attribute-worker dead-letters list --json | jq -r .id""",
)
@settings_options
@filter_options
@click.option("--all", "with_resolved", is_flag=True, help="Also letters that are resolved.")
@click.option("--summary", is_flag=True, help="Only counts, by reason and attribute.")
@click.option("--values", is_flag=True, help="Show identifiers and values, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_letters(
    loaded: Loaded,
    *,
    with_resolved: bool,
    summary: bool,
    values: bool,
    as_json: bool,
    **typed: Any,  # noqa: ANN401 - click gives what the options declare
) -> None:
    """List the open dead letters.

    Reads the whole topic, up to its present end, twice: a later record may end a letter. A letter is open until it was
    delivered, superseded, refused again or dismissed. Changes nothing.

    Exit status: 0 done; 1 the topic could not be read to its end; 2 bad usage or configuration.
    """
    with job(loaded.settings, "dead_letters") as begun:
        wanted = Filters(**typed).read(loaded.settings)
        book = mending.letter_book(loaded.settings, begun.log)
        counts, resolved = Summary(), 0
        for found in book.letters(begun.stopped):
            if not wanted.fits(found.letter):
                continue
            if found.state != OPEN and not with_resolved:
                resolved += 1
                continue
            counts.take(found)
            if not summary:
                click.echo(_json(document(found, values=values)) if as_json else line(found, values=values))
        tell_odd(book.odd)
        if begun.stop.requested:
            stopped_early(f"so far {counted(counts.letters, 'letter')}")
        if summary:
            click.echo(_json(counts.document()) if as_json else "\n".join(counts.lines()))
        elif not as_json and sys.stdout.isatty():
            click.echo(
                counted(counts.letters, "letter") + (f"; {resolved:,} resolved: --all shows them" if resolved else "")
            )


def _json(shown: dict[str, object]) -> str:
    return json.dumps(shown, ensure_ascii=False)
