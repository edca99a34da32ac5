"""`attribute-worker rewind`: moves the committed offsets of the group while it is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import click
from structlog.typing import FilteringBoundLogger

from worker.commands.job import job
from worker.commands.stop import Stop
from worker.core.counted import counted
from worker.jobs.rewind import Move, moves, to_commit
from worker.jobs.spans import Place, chosen, reach
from worker.jobs.unfinished import Unfinished
from worker.jobs.when import Unreadable, offsets, when
from worker.kafka.stopped_group import GroupTaken, Member, StoppedGroup
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.mending import stopped_group

_NAMED_MAX: Final = 20


class NotMoved(Unfinished):
    """Nothing has moved. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed."""

    to: str | None
    to_offsets: str | None
    topics: tuple[str, ...]
    partitions: tuple[int, ...]
    dry_run: bool
    as_json: bool


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker rewind --to -2h --dry-run
  attribute-worker rewind --to 2026-03-01T12:00
  attribute-worker rewind --to-offsets 0:1500,1:980""",
)
@settings_options
@click.option("--to", metavar="WHEN", help="A time, a duration back (-2h), earliest or latest.")
@click.option("--to-offsets", metavar="OFFSETS", help="PARTITION:OFFSET,… or TOPIC/PARTITION:OFFSET,…")
@click.option("--topic", "topics", multiple=True, help="Only this topic. Repeatable.")
@click.option("--partition", "partitions", type=int, multiple=True, help="Only this partition. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would move, and move nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(loaded: Loaded, **typed: object) -> None:
    """Move the committed offsets of the group while it is stopped.

    With a time, each partition goes to its first record at or after that time; one without such a record goes to its
    end. Records between the new offset and the old one are read again by the next `run`, which coalesces them as far as
    its memory allows: a user may see older values again before the last ones come. `replay` does not do so, and needs
    no stop. A move forward leaves records out for good, and says how many.

    It refuses while the group has members, and names them. A static member that is away counts until the session
    time-out has passed.

    Exit status: 0 moved, or nothing to move; 1 not moved, or not known to be; 2 bad usage or configuration.
    """
    options = Options(**typed)  # type: ignore[arg-type]  # click gives what the options declare
    settings = loaded.settings
    with job(settings, "rewind") as begun:
        _run(settings, options, begun.stop, begun.log)


def _run(settings: Settings, options: Options, stop: Stop, log: FilteringBoundLogger) -> None:
    if (options.to is None) == (options.to_offsets is None):
        raise Unreadable("say where to: either --to WHEN or --to-offsets OFFSETS")
    admin = parts.admin(settings, log)
    now_ms = time.time_ns() // 1_000_000
    to_time = None if options.to is None else when(options.to, now_ms)
    partitions = chosen(admin, settings.kafka.topics, options.topics, options.partitions)
    topics = sorted({partition.topic for partition in partitions})
    place: Place = offsets(options.to_offsets or "", topics) if to_time is None else to_time
    with stopped_group(settings, admin, log) as group:
        members = group.members()
        if members and not options.dry_run:
            raise NotMoved(_refusal(group.group_id, members))
        reaches = reach(admin, partitions, place, None)
        planned = moves(reaches, group.committed(reaches))
        if not options.dry_run:
            _move(group, planned, stop)
    _show(group.group_id, planned, members, options)


def _move(group: StoppedGroup, planned: list[Move], stop: Stop) -> None:
    if stop.requested:
        raise NotMoved("stopped: no offset was moved")
    commit = to_commit(planned)
    if not commit:
        return
    try:
        group.move(commit)
    except GroupTaken:
        # Somebody has just joined. The brokers hold this fort, not the question above.
        raise NotMoved(_refusal(group.group_id, group.members())) from None


def _refusal(group_id: str, members: Iterable[Member]) -> str:
    named = [_named(member) for member in members]
    more = [f"and {len(named) - _NAMED_MAX} more"] if len(named) > _NAMED_MAX else []
    lines = "".join(f"\n  {line}" for line in [*named[:_NAMED_MAX], *more])
    return (
        f"group {group_id} has {counted(len(named), 'member')}, so no offset was moved:{lines}\n"
        "Stop every worker of the group, then run this again. One that was killed, or that is static, counts until its "
        "session time-out has passed (45 s unless session.timeout.ms or the brokers say otherwise)."
    )


def _named(member: Member) -> str:
    static = "" if member.instance is None else f", static member {member.instance}"
    return f"{member.client_id} at {member.host}{static}"


def _show(group_id: str, planned: list[Move], members: list[Member], options: Options) -> None:
    moved = not options.dry_run
    if options.as_json:
        click.echo(json.dumps(_document(group_id, planned, members, dry_run=options.dry_run), ensure_ascii=False))
    else:
        rows = [("partition", "before", "after", ""), *(_row(each) for each in planned)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for name, before, after, words in rows:
            line = f"{name:<{widths[0]}}  {before:>{widths[1]}}  {after:>{widths[2]}}  {words}"
            click.echo(line.rstrip())
        count = len(to_commit(planned))
        moving = "moved" if moved else "would move"
        click.echo(f"group {group_id}: {count} of {counted(len(planned), 'partition')} {moving}")
    if any(each.shortened for each in planned):
        click.echo("Warning: retention deleted records that were asked for; see the partitions at `earliest`", err=True)
    if members:
        click.echo(f"Without --dry-run it would refuse: {_refusal(group_id, members)}", err=True)


def _row(move: Move) -> tuple[str, str, str, str]:
    before = "none" if move.before is None else str(move.before)
    words = []
    if move.before is not None and move.after < move.before:
        words.append(f"{move.before - move.after:,} back")
    if move.before == move.after:
        words.append("as it is")
    if move.passed_over:
        words.append(f"{move.passed_over:,} passed over, never read")
    if move.shortened:
        words.append("earliest: retention deleted what lay before")
    return f"{move.partition.topic}/{move.partition.number}", before, str(move.after), "; ".join(words)


def _document(group_id: str, planned: list[Move], members: list[Member], *, dry_run: bool) -> dict[str, object]:
    return {
        "group_id": group_id,
        "dry_run": dry_run,
        "moved": 0 if dry_run else len(to_commit(planned)),
        "members": [
            {"client_id": each.client_id, "host": each.host, "group_instance_id": each.instance} for each in members
        ],
        "partitions": [
            {
                "topic": each.partition.topic,
                "partition": each.partition.number,
                "before": each.before,
                "after": each.after,
                "earliest": each.earliest,
                "shortened": each.shortened,
                "passed_over": each.passed_over,
            }
            for each in planned
        ],
    }
