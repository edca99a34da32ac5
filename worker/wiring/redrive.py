"""Builds `dead-letters redrive` from its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.core.replay.redrive import Redrive
from worker.core.replay.scope import Scope
from worker.jobs.follower import Follower
from worker.jobs.letter_filter import LetterFilter
from worker.jobs.redrive.errands import Decoding, Errands
from worker.jobs.redrive.job import RedriveJob
from worker.jobs.redrive.letters import Letters
from worker.jobs.redrive.live_workers import LiveWorkers
from worker.jobs.redrive.mail import Mail
from worker.jobs.redrive.sources import Reach, Sources
from worker.jobs.spans import ASK_SECONDS
from worker.kafka import bounds
from worker.kafka.patterns import matchers
from worker.kafka.topics import Admin
from worker.live.ports import Schemas
from worker.ops.job_board import JobBoard
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.mending import await_schema, letter_book, stopped_group
from worker.wiring.replay import follower, refuse_growth
from worker.wiring.sending import clock, quiet_seconds, sending
from worker.wiring.watch import stages


@dataclass(frozen=True, slots=True)
class RedriveTask:
    """What a redrive is to do.

    Attributes:
        wanted: which letters are meant.
        rate: calls a second; None takes what live traffic leaves.
        dry: only find out what it would do.
        force: also letters that cannot be checked.
        raw: also records that could not be decoded.
        stopped: whether a stop was requested.
        say: tells people something.
    """

    wanted: LetterFilter
    rate: float | None
    dry: bool
    force: bool
    raw: bool
    stopped: Callable[[], bool]
    say: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class RedriveParts:
    """A redrive, ready to run, and what tells of it."""

    job: RedriveJob
    redrive: Redrive
    letters: Letters


@contextmanager
def redrive(
    settings: Settings, task: RedriveTask, board: JobBoard, log: FilteringBoundLogger
) -> Iterator[RedriveParts]:
    """A redrive with its connections, which end with the context. `board` shows how far it is.

    The memory is for the letters' ids and for the letters that are under way, half of it each.

    Raises:
        Unusable: As `wiring.worker.worker`.
        TopicsUnavailable: The dead-letter topic is missing or forbidden, or the brokers do not answer.
        NotWritten: As `await_schema`.
    """
    half = settings.window.max_bytes // 2
    book = letter_book(
        settings.model_copy(update={"window": settings.window.model_copy(update={"max_bytes": half})}), log
    )
    admin = parts.admin(settings, log)
    sources = _sources(settings, admin)
    with sending(settings, parts.identity(settings), task.rate, log, storms=False) as through:
        if through.source is not None and not task.dry:
            await_schema(through.source, task.stopped)
        core = Redrive(
            through.engine,
            half,
            concurrency=settings.attentive.concurrency,
            quiet_seconds=quiet_seconds(settings),
            dry=task.dry,
        )
        mail = Mail(through.producer, core, clock)
        decoding = Decoding(parts.decoder(settings), through.source, task.stopped) if task.raw else None
        live_workers = LiveWorkers(
            sources.subscribed, lambda: _committed(settings, admin, sources.subscribed, log), task.stopped
        )
        errands = Errands(parts.preflight(settings), sources, live_workers, decoding, force=task.force)
        letters = Letters(book, task.wanted, errands, sources)
        job = RedriveJob(
            core,
            through.exchange(mail, lambda: core.write_by, board),
            letters,
            mail,
            open_follower=lambda starts: _follower(settings, core, starts, admin, through.source, log),
            still_the_same=lambda starts: refuse_growth(admin, starts),
            say=task.say,
            stages=stages(board),
        )
        yield RedriveParts(job, core, letters)


def _follower(
    settings: Settings,
    core: Redrive,
    starts: Mapping[Partition, int],
    admin: Admin,
    source: Schemas | None,
    log: FilteringBoundLogger,
) -> Follower:
    return follower(settings, core, Scope({}), starts, admin, source, log)


def _committed(
    settings: Settings, admin: Admin, partitions: Iterable[Partition], log: FilteringBoundLogger
) -> dict[Partition, int] | None:
    """What the group has committed. None if it has no members."""
    with stopped_group(settings, admin, log) as group:
        if not group.members():
            return None
        found = group.committed(partitions)
    return {each: of.offset for each, of in found.items() if of.offset is not None}


def _sources(settings: Settings, admin: Admin) -> Sources:
    """The logs of the cluster. A subscribed topic that does not exist is none of them."""
    found = admin.metadata(None, ASK_SECONDS).topics
    counts = {name: len(of.partitions) for name, of in found.items() if of.error is None}
    names, patterns = set(settings.kafka.topics), matchers(settings.kafka.topics, admin.properties).values()
    subscribed = [name for name in counts if name in names or any(matches(name) for matches in patterns)]

    def reach(partitions: Iterable[Partition]) -> Mapping[Partition, Reach]:
        asked = list(partitions)
        starts, ends = bounds.starts(admin, asked, ASK_SECONDS), bounds.ends(admin, asked, ASK_SECONDS)
        return {each: Reach(starts[each], ends[each]) for each in asked}

    return Sources(subscribed, counts, reach, lambda asked, since_ms: bounds.at(admin, asked, since_ms, ASK_SECONDS))
