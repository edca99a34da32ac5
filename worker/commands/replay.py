"""`attribute-worker replay`: sends again what a range of the topic says, where it is still the last word."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from structlog.typing import FilteringBoundLogger

from worker.commands.job import UNFINISHED_EXIT, job, metrics_port_option
from worker.commands.stop import Stop
from worker.commands.unmet import tell_unmet
from worker.core.counted import counted
from worker.core.delivery.spare_rate import MOST
from worker.core.model import Partition
from worker.core.replay.scope import Scope
from worker.jobs.begin import Beginning, decide, filters_of, name_of, prove_dead_letters, wanted
from worker.jobs.diary import Begun, begun_of
from worker.jobs.first import first_ms
from worker.jobs.spans import ASK_SECONDS, Place, Reach, chosen, reach
from worker.jobs.users import Users, typed_users
from worker.jobs.when import Unreadable, in_order, offsets, when
from worker.kafka import bounds
from worker.kafka.notebook import Notebook
from worker.kafka.topics import Admin, partition_counts
from worker.ops.job_board import JobBoard
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.replay import ReplayParts, ReplayTask, notebook, range_opener
from worker.wiring.replay import replay as build
from worker.wiring.watch import watched


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed."""

    begin: str | None
    begin_offsets: str | None
    end: str | None
    end_offsets: str | None
    topics: tuple[str, ...]
    partitions: tuple[int, ...]
    users: tuple[str, ...]
    users_file: Path | None
    attributes: tuple[str, ...]
    rate: float | None
    name: str | None
    restart: bool
    dry_run: bool
    as_json: bool
    metrics_port: int | None


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker replay --from -2h --dry-run               what it would do
  attribute-worker replay --from -2h                         do it
  attribute-worker replay --from 2026-03-01T12:00 --to 2026-03-01T13:30 --attribute 'tier*'
  attribute-worker replay --from-offsets 0:1500,1:980 --user phone=+15551230001""",
)
@settings_options
@click.option(
    "--from",
    "begin",
    metavar="WHEN",
    help="Where the range begins: an ISO 8601 time, a duration back as -2h, earliest or latest.",
)
@click.option(
    "--from-offsets",
    "begin_offsets",
    metavar="OFFSETS",
    help="Or PARTITION:OFFSET,… with several topics TOPIC/PARTITION:OFFSET,…",
)
@click.option("--to", "end", metavar="WHEN", help="Where it ends, exclusive. Default: what the topic has at the start.")
@click.option("--to-offsets", "end_offsets", metavar="OFFSETS", help="Or offsets, exclusive.")
@click.option("--topic", "topics", metavar="TOPIC", multiple=True, help="Only this topic. Repeatable.")
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(0),
    metavar="N",
    multiple=True,
    help="Only this partition. Repeatable.",
)
@click.option(
    "--user",
    "users",
    metavar="USER",
    multiple=True,
    help="Only this user: phone=…, email=…, client_user_id=… or custom:NAME=… Repeatable.",
)
@click.option(
    "--users-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only the users in this file, one a line.",
)
@click.option(
    "--attribute", "attributes", metavar="PATTERN", multiple=True, help="Only these attributes, as 'sc*'. Repeatable."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Calls a second. Default: what live traffic leaves.",
)
@click.option("--name", metavar="NAME", help="The job's name, by which it goes on. Default: made of these options.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier run of this name has done.")
@click.option("--dry-run", is_flag=True, help="Say what it would do. Makes no call, commits nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@metrics_port_option
def command(loaded: Loaded, **typed: object) -> None:
    """Send again what a range of the topic says, where it is still the last word.

    Reads the range and all that came after it. For each user and attribute it sends the last value of the whole log,
    and only if that lies in the range. Beside live workers the newest value stands in the end; with a window of less
    than a second an older one may be visible for the time of one call. It commits nothing to their group. Kill it at
    any time: the same command goes on where it stopped.

    Exit status: 0 done; 1 not finished, the same command goes on; 2 bad usage or configuration.
    """
    options = Options(**typed)  # type: ignore[arg-type]  # click gives what the options declare
    settings = loaded.settings
    with job(settings, "replay", advice=". The same command goes on.") as begun:
        sys.exit(0 if _Run(settings, options, begun.log).run(begun.stop) else UNFINISHED_EXIT)


class _Run:
    """One run of the command."""

    def __init__(self, settings: Settings, options: Options, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._options = options
        self._log = log
        self._admin: Admin = parts.admin(settings, log)
        self._users = typed_users(options.users, options.users_file)
        self._name = name_of(options.name, _typed(options))
        self._reaches: Mapping[Partition, Reach] = {}

    def run(self, stop: Stop) -> bool:
        """Returns whether all is done."""
        notes = notebook(self._settings, self._name, self._log)
        try:
            how, begun = self._begin(notes)
            if how is Beginning.FINISHED and not self._options.dry_run:
                self._say(f"{self._name} is finished already; --restart begins it anew")
                self._print({"name": self._name, "state": "finished", "calls": 0, "delivered": 0})
                return True
            return self._do(how, begun, notes, stop)
        finally:
            notes.close()

    def _begin(self, notes: Notebook) -> tuple[Beginning, Begun]:
        options, settings, admin = self._options, self._settings, self._admin
        begin, end = _places(options, list(partition_counts(admin, settings.kafka.topics, ASK_SECONDS)))
        partitions = chosen(admin, settings.kafka.topics, options.topics, options.partitions)
        self._reaches = reach(admin, partitions, begin, end)
        if not self._reaches:
            raise Unreadable("the range names no partition")
        wish = wanted(self._reaches, filters_of(self._users, _typed(options)))
        if options.dry_run:
            return Beginning.ANEW, wish
        prove_dead_letters(admin, settings.kafka.dead_letter_topic)
        # One of other partitions may have this name, too.
        everything = chosen(admin, settings.kafka.topics, (), ())
        found = begun_of(notes.read(partitions)) or begun_of(notes.read(everything))
        return decide(found, wish, restart=options.restart)

    def _do(self, how: Beginning, begun: Begun, notes: Notebook, stop: Stop) -> bool:
        options = self._options
        verb = {Beginning.ANEW: "begins", Beginning.AGAIN: "goes on", Beginning.FINISHED: "is finished"}[how]
        self._say(f"{self._name} {'would replay' if options.dry_run else verb}: {_range_words(begun)}")
        if not any(of.stop > of.start for of in begun.ranges.values()):
            self._say("the range is empty: the topic has no record in it, so there is nothing to replay")
        anew = how is Beginning.ANEW
        if anew:
            self._warn_of_retention()
        users = Users(self._users, parts.identity_rules(self._settings))
        scope = Scope(begun.ranges, None if self._users is None else users.include, options.attributes)
        starts = self._starts(begun)
        task = ReplayTask(self._name, begun, anew, scope, starts, options.rate, options.dry_run, self._say)
        who, board = parts.identity(self._settings), JobBoard("replay", self._name)
        with (
            watched(self._settings, who, board, options.metrics_port, self._log),
            build(self._settings, task, who, self._admin, notes, board, self._log) as built,
        ):
            done = built.job.run(lambda: stop.requested)
            if done:
                board.finish()
            self._tell(built, users, done=done)
        return done

    def _starts(self, begun: Begun) -> Mapping[Partition, int]:
        """Where to begin to read: each partition of all topics at the time of the range's first record.

        A user's later changes may lie in any of them, also before a part of the range that begins later.
        """
        everywhere = {*chosen(self._admin, self._settings.kafka.topics, (), ()), *begun.ranges}
        since = first_ms(begun.ranges, range_opener(self._settings, self._log))
        starts = dict(bounds.ends(self._admin, everywhere, ASK_SECONDS))
        if since is not None:
            at = bounds.at(self._admin, everywhere, since, ASK_SECONDS)
            starts |= {each: offset for each, offset in at.items() if offset is not None}
        return starts | {each: min(of.start, starts[each]) for each, of in begun.ranges.items()}

    def _warn_of_retention(self) -> None:
        for each, found in sorted(self._reaches.items()):
            if found.shortened:
                self._say(
                    f"{each.topic}/{each.number}: what was before offset {found.earliest} is deleted; begins there"
                )

    def _tell(self, built: ReplayParts, typed: Users, *, done: bool) -> None:
        tally, counts = built.replay.tally, built.follower.counts
        if counts.unreadable:
            self._say(
                f"{counted(counts.unreadable, 'record')} of the range cannot be decoded: a dead letter each, by `run`"
            )
        if done:
            tell_unmet(typed.unmet)
        if self._options.dry_run:
            self._tell_plan(built)
            return
        totals = built.job.totals
        letters = totals.dead_letters.total()
        users = counted(tally.calls - tally.delivered, "user")
        what = f"at least {users} left" if tally.calls else "it has not read to the end"
        left = "" if done else f"; {what}: the same command goes on"
        self._say(
            f"{self._name} {'is finished' if done else 'stopped'}: {counted(tally.delivered, 'user')} in "
            f"{counted(totals.calls, 'call')}, {counted(letters, 'dead letter')}{left}"
        )
        self._print(
            {
                "name": self._name,
                "state": "finished" if done else "stopped",
                "delivered": tally.delivered,
                "calls": totals.calls,
                "dead_letters": letters,
                "superseded": tally.superseded,
            }
        )

    def _tell_plan(self, built: ReplayParts) -> None:
        tally, counts = built.replay.tally, built.follower.counts
        rate = self._options.rate or MOST * self._settings.attentive.requests_per_second
        seconds = tally.calls / rate
        if built.follower.passes > 1:
            self._say(f"not all users fit into WORKER_WINDOW__MAX_BYTES: {built.follower.passes} passes over the topic")
        self._say(
            f"{counted(counts.records, 'record')} read, with {counted(tally.changes, 'change')} of "
            f"{counted(tally.users, 'user')} to replay; {counted(tally.calls, 'call')}, at least {seconds:,.0f} s at "
            f"{rate:g} a second; {counted(tally.superseded, 'value')} not sent, because a later one stands in the log"
        )
        if not tally.changes:
            self._say("there is nothing to replay: no change of the range is one of those that the options name")
        self._print(
            {
                "records": counts.records,
                "changes": tally.changes,
                "users": tally.users,
                "calls": tally.calls,
                "superseded": tally.superseded,
                "seconds_at_rate": round(seconds, 1),
                "bytes": counts.bytes,
                "partitions": [
                    {
                        "topic": each.topic,
                        "partition": each.number,
                        "from": found.start,
                        "to": found.stop,
                        "earliest": found.earliest,
                    }
                    for each, found in sorted(self._reaches.items())
                ],
            }
        )

    def _print(self, what: Mapping[str, object]) -> None:
        if self._options.as_json:
            click.echo(json.dumps(what))

    def _say(self, text: str) -> None:
        """To people: on stdout, or beside the JSON on stderr."""
        click.echo(text, err=self._options.as_json)


def _places(options: Options, topics: list[str]) -> tuple[Place, Place | None]:
    if (options.begin is None) == (options.begin_offsets is None):
        raise Unreadable("give one of --from and --from-offsets")
    if options.end is not None and options.end_offsets is not None:
        raise Unreadable("give only one of --to and --to-offsets")
    now_ms = time.time_ns() // 1_000_000
    begin = offsets(options.begin_offsets, topics) if options.begin is None else when(options.begin, now_ms)  # type: ignore[arg-type]  # one of them is given
    end: Place | None = None if options.end is None else when(options.end, now_ms)
    if options.end_offsets is not None:
        end = offsets(options.end_offsets, topics)
    in_order(begin, end)
    return begin, end


def _typed(options: Options) -> Mapping[str, object]:
    """The options that make a job another one."""
    return {
        "from": options.begin,
        "from-offsets": options.begin_offsets,
        "to": options.end,
        "to-offsets": options.end_offsets,
        "topic": sorted(options.topics),
        "partition": sorted(options.partitions),
        "user": sorted(options.users),
        "users-file": str(options.users_file or ""),
        "attribute": sorted(options.attributes),
    }


def _range_words(begun: Begun) -> str:
    total = sum(of.stop - of.start for of in begun.ranges.values())
    return f"{counted(total, 'offset')} of {counted(len(begun.ranges), 'partition')}"
