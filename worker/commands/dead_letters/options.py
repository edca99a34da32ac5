"""The filters of dead letters as options, and what the subcommands share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import click

from worker.commands.job import UNFINISHED_EXIT
from worker.core.model import LOSSES, Reason
from worker.jobs.letter_filter import LetterFilter, bound_ms, source_place
from worker.jobs.letters import Odd
from worker.jobs.users import Users, identifier
from worker.jobs.when import in_order, when
from worker.settings.model import Settings
from worker.wiring import parts

_OPTIONS: Final = (
    click.option(
        "--reason",
        "reasons",
        multiple=True,
        type=click.Choice([reason.value for reason in LOSSES]),
        metavar="REASON",
        help=f"Only letters with this reason. Repeatable. One of {', '.join(reason.value for reason in LOSSES)}.",
    ),
    click.option("--since", metavar="WHEN", help="Only what failed since: a time, a duration back (-2h), earliest."),
    click.option("--until", metavar="WHEN", help="Only what failed before that, exclusive."),
    click.option(
        "--user",
        "users",
        metavar="USER",
        multiple=True,
        help="Only letters of this user: phone=…, email=…, client_user_id=… or custom:NAME=… Repeatable.",
    ),
    click.option(
        "--attribute",
        "attributes",
        metavar="PATTERN",
        multiple=True,
        help="Only letters with such an attribute, as 'loyalty_*'. Repeatable.",
    ),
    click.option(
        "--source",
        "sources",
        metavar="TOPIC[/PARTITION[:OFFSET]]",
        multiple=True,
        help="Only letters of such a record. Repeatable.",
    ),
)


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters as typed."""

    reasons: tuple[str, ...]
    since: str | None
    until: str | None
    users: tuple[str, ...]
    attributes: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def none_given(self) -> bool:
        """Whether every letter fits."""
        return not (self.reasons or self.since or self.until or self.users or self.attributes or self.sources)

    def read(self, settings: Settings) -> LetterFilter:
        """What they mean.

        Raises:
            Unreadable: One of them cannot be read.
        """
        now_ms = time.time_ns() // 1_000_000
        since = bound_ms(None if self.since is None else when(self.since, now_ms), now_ms=now_ms)
        until = bound_ms(None if self.until is None else when(self.until, now_ms), now_ms=now_ms)
        in_order(since, until, ("--since", "--until"))
        return LetterFilter(
            reasons=frozenset(map(Reason, self.reasons)),
            since_ms=since,
            until_ms=until,
            users=Users(map(identifier, self.users), parts.identity_rules(settings)) if self.users else None,
            attributes=self.attributes,
            sources=tuple(map(source_place, self.sources)),
        )


def filter_options(function: Callable[..., object]) -> Callable[..., object]:
    """Gives a command the filters; it takes them as the fields of `Filters`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def tell_odd(odd: Odd) -> None:
    """Says what of the topic was passed over."""
    for why, count in odd.counts.items():
        first = odd.first[why]
        place = f"{first.partition.topic}/{first.partition.number}:{first.offset}"
        records = (
            "1 record is no dead letter, and was" if count == 1 else f"{count:,} records are no dead letters, and were"
        )
        click.echo(f"Warning: {records} passed over: {why} (first at {place})", err=True)


def stopped_early(what: str) -> None:
    """Ends the program after a signal, saying what is left."""
    click.echo(f"Error: stopped before the end of the topic: {what}", err=True)
    sys.exit(UNFINISHED_EXIT)
