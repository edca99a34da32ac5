"""`attribute-worker dead-letters`: the dead-letter topic, for people and scripts."""

from __future__ import annotations

import click

from worker.commands.dead_letters.dismissing import dismiss
from worker.commands.dead_letters.listing import list_letters
from worker.commands.dead_letters.redriving import redrive
from worker.commands.dead_letters.showing import show


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def group() -> None:
    """See, send again and end dead letters: what the worker could not deliver.

    A letter is open until a record in the same topic ends it. Letters that were written twice are one.
    """


for each in (list_letters, show, redrive, dismiss):
    group.add_command(each)
