"""`attribute-worker demo`: the real worker at work, with nothing else to install or to start."""

from __future__ import annotations

import sys

import click

EVENTS_MIN = 500
# What the embedded Kafka forgets past about 5 MiB in a partition would be missing at the end.
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

    Starts a Kafka and an Attentive inside this process, and the worker as the process that it always is. Profile
    changes are produced for about ten seconds; meanwhile Attentive refuses some values, answers 429, then 500. At the
    end every user's state in that Attentive is compared with what the topic says, and every dead letter with what was
    provoked.

    Exit status: 0 all equal; 1 something differs, or the demo could not end; 2 the extra 'demo' is not installed.
    It takes about 20 seconds. Your own WORKER_ settings are left out.
    """
    from worker.commands.demo.show import show  # noqa: PLC0415 - needs the extra; `--help` must not

    sys.exit(show(seed=seed, events=events))
