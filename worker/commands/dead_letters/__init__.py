"""`attribute-worker dead-letters`: the dead-letter topic, for people and scripts."""

from __future__ import annotations

import click

from worker.commands.dead_letters.dismissing import dismiss
from worker.commands.dead_letters.listing import list_letters
from worker.commands.dead_letters.redriving import redrive
from worker.commands.dead_letters.showing import show


class InOrder(click.Group):
    """Lists its commands in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, as they were added."""
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  attribute-worker dead-letters list --summary                       how many, by reason and attribute
  attribute-worker dead-letters redrive --attribute tier --dry-run   what a redrive would do
  attribute-worker dead-letters redrive --attribute tier             do it""",
)
def group() -> None:
    """See, send again and end dead letters: what the worker could not deliver.

    A letter is open until a record in the same topic ends it. Letters that were written twice are one.
    """


for each in (list_letters, show, redrive, dismiss):
    group.add_command(each)
