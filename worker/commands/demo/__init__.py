"""`attribute-worker demo`: the real worker at work, with nothing else to install or start."""

from __future__ import annotations

import sys

import click

EVENTS_MIN = 500
# The embedded Kafka drops the oldest records above about 5 MiB per partition, and the proof would miss them.
EVENTS_MAX = 20_000
EVENTS_DEFAULT = 6_000


@click.command(
    epilog="""\b
Examples:
  attribute-worker demo
  attribute-worker demo --seed 7 --events 12000
  attribute-worker demo | tee demo.txt     plain lines, once a second"""
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same events.")
@click.option(
    "--events",
    type=click.IntRange(EVENTS_MIN, EVENTS_MAX),
    default=EVENTS_DEFAULT,
    show_default=True,
    help="Profile changes to produce.",
)
def command(*, seed: int, events: int) -> None:
    """See it work, with no infrastructure.

    Starts a Kafka and an Attentive inside this process, and the worker as its own process. Produces profile changes for
    about ten seconds, while Attentive refuses some values, and answers 429, then 500. At the end it compares every
    user's state in that Attentive with the topic, and every dead letter with the change that should cause it.

    Exit status: 0 all equal; 1 something differs, or the demo could not finish; 2 the extra 'demo' is not installed.
    It takes about 20 seconds. It ignores your own WORKER_ settings.
    """
    from worker.commands.demo.show import show  # noqa: PLC0415 - needs the extra; `--help` must not

    sys.exit(show(seed=seed, events=events))
