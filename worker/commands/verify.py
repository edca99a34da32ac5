"""`attribute-worker verify`: compares what the topic says with what the destination holds, and mends what differs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from structlog.typing import FilteringBoundLogger

from worker.commands.job import UNFINISHED_EXIT, job, metrics_port_option
from worker.commands.stop import Stop
from worker.commands.unmet import tell_unmet
from worker.core.counted import counted
from worker.core.model import UserKey
from worker.jobs.begin import prove_dead_letters
from worker.jobs.findings import Finding, Kind, Tally
from worker.jobs.letters import Value, open_letters
from worker.jobs.spans import chosen, reach
from worker.jobs.unfinished import Unfinished
from worker.jobs.users import Users, typed_users
from worker.jobs.verify import Verify
from worker.jobs.when import Edge, when
from worker.kafka.range import RangeFailed
from worker.kafka.topics import TopicsUnavailable
from worker.ops.job_board import JobBoard
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.mending import letter_book
from worker.wiring.parts import Unusable
from worker.wiring.verify import Task
from worker.wiring.verify import verify as build
from worker.wiring.watch import watched

USERS: Final = 100
_LINES_MAX: Final = 50
_HINTED_MAX: Final = 100_000  # differences that are looked for in the dead-letter topic


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed."""

    users: tuple[str, ...]
    users_file: Path | None
    sample: int | None
    begin: str
    attributes: tuple[str, ...]
    rate: float | None
    repair: bool
    as_json: bool
    values: bool
    metrics_port: int | None


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker verify                                    100 users, always the same
  attribute-worker verify --user phone=+15551230001 --values
  attribute-worker verify --sample 5000 --rate 50 --attribute 'loyalty_*' --json
  attribute-worker verify --sample 5000 --repair             sends what is missing or different""",
)
@settings_options
@click.option(
    "--user",
    "users",
    metavar="USER",
    multiple=True,
    help="Only this user: phone=…, email=…, client_user_id=… or custom:NAME=… Repeatable.",
)
@click.option("--users-file", type=click.Path(path_type=Path), help="Only the users in this file, one a line.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help=f"So many users, the same in each run. Default: {USERS}, or all that are named.",
)
@click.option(
    "--from",
    "begin",
    metavar="WHEN",
    default=Edge.EARLIEST.value,
    show_default=True,
    help="Only changes since then: an ISO 8601 time, a duration back as -2h, earliest.",
)
@click.option(
    "--attribute", "attributes", metavar="PATTERN", multiple=True, help="Only these attributes, as 'sc*'. Repeatable."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Calls a second. Default: a tenth of WORKER_ATTENTIVE__REQUESTS_PER_SECOND.",
)
@click.option("--repair", is_flag=True, help="Send what is missing or different, and see whether it is held then.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a difference, and one with the counts.")
@click.option("--values", is_flag=True, help="Show identifiers and values, too.")
@metrics_port_option
def command(loaded: Loaded, **typed: object) -> None:
    """Compare what the topic says with what the destination holds.

    Reads the topic, takes the last value of each attribute of the chosen users, and asks the destination for these
    users. An attribute may be missing there, different, or unexpected: held, though the topic does not say it. Changes
    younger than the window and 30 seconds are not judged. It changes nothing, and commits nothing.

    With --repair it then sends the topic's last values of exactly what is missing or different, as `replay` does,
    beside live workers, and reads these users again. What is unexpected stays: the topic has no value to send.

    Exit status: 0 nothing differs, or all is mended; 1 something differs, or not all could be compared; 2 bad usage or
    configuration.
    """
    options = Options(**typed)  # type: ignore[arg-type]  # click gives what the options declare
    settings = loaded.settings
    with job(settings, "verify") as begun:
        sys.exit(_run(settings, options, begun.stop, begun.log))


def _run(settings: Settings, options: Options, stop: Stop, log: FilteringBoundLogger) -> int:
    """Runs the job, prints what it finds, and returns the exit status."""
    typed = typed_users(options.users, options.users_file)
    users = Users(typed, parts.identity_rules(settings))
    begin = when(options.begin, time.time_ns() // 1_000_000)
    admin = parts.admin(settings, log)
    reaches = reach(admin, chosen(admin, settings.kafka.topics, (), ()), begin, None)
    if options.repair:
        prove_dead_letters(admin, settings.kafka.dead_letter_topic)
    task = Task(
        reaches=reaches,
        includes=users.include,
        users_max=USERS if typed is None and options.sample is None else options.sample,
        patterns=options.attributes,
        rate=options.rate,
        from_earliest=begin is Edge.EARLIEST,
        repair=options.repair,
    )
    printer = _Printer(as_json=options.as_json, values=options.values)
    wrong: set[Value] = set()
    board = JobBoard("verify", "verify")
    with (
        watched(settings, parts.identity(settings), board, options.metrics_port, log),
        build(settings, task, admin, board, log) as job,
    ):
        problem = None
        try:
            for finding in job.run(lambda: stop.requested):
                printer.finding(finding)
                if finding.last is not None and len(wrong) < _HINTED_MAX:
                    wrong.add((finding.last.source.partition, finding.last.source.offset, finding.attribute))
        except Unfinished as error:
            problem = str(error)
        # Of a run that ended early nobody knows whom the rest of the topic names.
        unknown = [] if stop.requested or problem else users.unmet
        printer.summary(job.tally, len(unknown), repair=task.repair)
        unfinished = [problem] if problem else []
        if stop.requested:
            unfinished.append("stopped before the end")
        if not unfinished:
            board.finish()
        _tell(job, task, unfinished)
        tell_unmet(unknown, values=options.values)
    if wrong:
        _hint(settings, wrong, lambda: stop.requested, log)
    tally = job.tally
    return UNFINISHED_EXIT if unfinished or tally.differs or tally.failed else 0


def _hint(settings: Settings, wrong: set[Value], stopped: Callable[[], bool], log: FilteringBoundLogger) -> None:
    """Says how many of the differences have a dead letter. It is only a hint: the exit status does not follow it."""
    try:
        count = open_letters(letter_book(settings, log), wrong, stopped)
    except (TopicsUnavailable, RangeFailed, Unfinished, Unusable) as error:
        click.echo(f"whether the differences have dead letters is not known: {error}", err=True)
        return
    if count:
        click.echo(
            f"open dead letters hold {count:,} of the differences: `dead-letters list` says why, and "
            "`dead-letters redrive` sends them again",
            err=True,
        )


class _Printer:
    """Prints to stdout: a line a difference, and at the end the counts."""

    def __init__(self, *, as_json: bool, values: bool) -> None:
        self._as_json = as_json
        self._values = values
        self._lines = 0

    def finding(self, finding: Finding) -> None:
        self._lines += 1
        if self._as_json:
            self._json(self._object(finding))
        elif self._lines <= _LINES_MAX:
            click.echo(self._line(finding))

    def summary(self, tally: Tally, unknown: int, *, repair: bool) -> None:
        found = {kind.value: tally.found[kind] for kind in Kind}
        if self._as_json:
            head = {"users": tally.users, "attributes": tally.attributes, "equal": tally.equal}
            tail = {"unreadable": tally.unreadable, "repaired": tally.repaired, "young": tally.young}
            self._json({**head, **found, **tail, "unknown": unknown})
            return
        if self._lines > _LINES_MAX:
            click.echo(f"… and {self._lines - _LINES_MAX:,} more: --json prints all")
        counts = f"{counted(tally.users, 'user')}, {counted(tally.attributes, 'attribute')}"
        if not tally.attributes and not tally.found:
            click.echo(f"nothing was compared: {counts}")
        elif not tally.found:
            click.echo(f"no differences: {counts}")
        else:
            repaired = f"; {tally.repaired:,} repaired" if repair else ""
            kinds = ", ".join(f"{of:,} {kind}" for kind, of in found.items())
            click.echo(f"{counts}: {tally.equal:,} equal, {kinds}{repaired}")

    def _object(self, finding: Finding) -> dict[str, object]:
        source = None if finding.last is None else finding.last.source
        user = {"user": _user(finding.subject.key)} if self._values else {}
        values = {"expected": finding.last and finding.last.value, "found": finding.returned} if self._values else {}
        return {
            **user,
            "attribute": finding.attribute,
            "finding": finding.kind.value,
            "topic": None if source is None else source.partition.topic,
            "partition": None if source is None else source.partition.number,
            "offset": None if source is None else source.offset,
            **values,
        }

    def _line(self, finding: Finding) -> str:
        words = [f"{finding.kind.value:<10}", _name(finding.attribute)]
        if finding.last is not None:
            source = finding.last.source
            words.append(f"{source.partition.topic}:{source.partition.number}:{source.offset}")
        if self._values:
            words.append(_user(finding.subject.key))
            words += [f"expected {_shown(finding.last.value)}"] if finding.last is not None else []
            words += [f"found {_shown(finding.returned)}"] if finding.kind is not Kind.MISSING else []
        return "  ".join(words)

    def _json(self, document: dict[str, object]) -> None:
        click.echo(json.dumps(document, ensure_ascii=False, default=str))


def _name(attribute: str) -> str:
    return attribute if attribute.isprintable() else json.dumps(attribute)


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _user(key: UserKey) -> str:
    """As a user is typed, so that a script can pass it on."""
    return f"custom:{key.name}={key.value}" if key.kind == "custom" else f"{key.kind}={key.value}"


def _tell(job: Verify, task: Task, unfinished: Iterable[str]) -> None:
    """Says on stderr what the counts leave out, and why the job ended early if it did."""
    tally = job.tally
    notes = [f"could not be read: {words} ({counted(count, 'user')})" for words, count in tally.failed.items()]
    if tally.nameless:
        notes.append(
            f"{counted(tally.nameless, 'user')} with no phone and no email: the API looks up nobody by other names"
        )
    if tally.young:
        notes.append(f"{counted(tally.young, 'change')} too young to judge")
    if not task.is_whole:
        notes.append("the topic is not read from its beginning on, so nothing is called unexpected")
    if job.unreadable_records:
        notes.append(
            f"{counted(job.unreadable_records, 'record')} that cannot be decoded; `run` makes dead letters of them"
        )
    if task.repair:
        notes += _not_mended(tally)
    notes += [f"Error: {why}; {_left(tally, repair=task.repair)}" for why in unfinished]
    for note in notes:
        click.echo(note, err=True)


def _not_mended(tally: Tally) -> list[str]:
    notes = [f"{counted(count, 'difference')} not mended: {why}" for why, count in tally.unmended.items()]
    if unexpected := tally.found[Kind.UNEXPECTED]:
        notes.append(f"{counted(unexpected, 'unexpected value')} left as found: the topic has none to send instead")
    if tally.overtaken:
        notes.append(f"{counted(tally.overtaken, 'difference')} with a later change by now, which may be on its way")
    return notes


def _left(tally: Tally, *, repair: bool) -> str:
    if not tally.users:
        return "no user was compared"
    differences = f", and {counted(tally.undecided, 'difference')}" if repair else ""
    return f"{tally.left:,} of {counted(tally.users, 'user')}{differences} left"
