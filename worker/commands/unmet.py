"""Says which of the users that were typed no record is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from worker.core.counted import counted
from worker.jobs.users import Identifier

_SHOWN_MAX: Final = 20


def tell_unmet(users: Sequence[Identifier], *, values: bool | None = None) -> None:
    """Warns on stderr: most likely one is misspelt. Names their kinds; with `values` the first few themselves.

    Without a word about `values`, the command has no such option.
    """
    if not users:
        return
    kinds = ", ".join(sorted({one.family for one in users}))
    hint = "; --values shows which" if values is False else ""
    click.echo(
        f"Warning: {counted(len(users), 'user')} not found ({kinds}): no record that was read is about them. "
        f"Write them as the records do{hint}",
        err=True,
    )
    for one in users[:_SHOWN_MAX] if values else ():
        click.echo(f"not found: {one.family}={one.value}", err=True)
