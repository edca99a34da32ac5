"""Builds a replay from its parts, as `wiring.worker` builds the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.core.facts import Observer
from worker.core.model import Partition, WorkerIdentity
from worker.core.replay.replay import Replay
from worker.core.replay.scope import Scope
from worker.jobs.diary import Begun, Diary
from worker.jobs.follower import Follower, Follows
from worker.jobs.replay import ReplayJob
from worker.kafka.bounds import Ends
from worker.kafka.notebook import Notebook
from worker.kafka.range import Range, Span
from worker.kafka.topics import Admin, TopicsUnavailable, partition_counts
from worker.live.ports import Schemas
from worker.ops.job_board import JobBoard
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.reading import reading_opener
from worker.wiring.sending import clock, quiet_seconds, sending
from worker.wiring.watch import stages

ENDS_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """What a replay is to do.

    Attributes:
        name: the job's.
        begun: what is replayed, and how far that has come.
        anew: nothing of it is written down yet.
        scope: the same range, with the users and attributes chosen.
        starts: where to begin to read each partition.
        rate: calls a second; None takes what live traffic leaves.
        dry: only find out what it would do.
        say: tells people something.
        observers: are told what happens, beside the log.
    """

    name: str
    begun: Begun
    anew: bool
    scope: Scope
    starts: Mapping[Partition, int]
    rate: float | None
    dry: bool
    say: Callable[[str], object]
    observers: tuple[Observer, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayParts:
    """A replay, ready to run, and what tells of it."""

    job: ReplayJob
    replay: Replay
    follower: Follower


def notebook(settings: Settings, name: str, log: FilteringBoundLogger) -> Notebook:
    """The notes of the job of this name, in its own group."""
    return Notebook(kafka_properties(settings), group_of(settings, name), log)


def group_of(settings: Settings, name: str) -> str:
    """The consumer group that keeps a job's progress."""
    return f"{settings.kafka.group_id}.job.{name}"


def range_opener(settings: Settings, log: FilteringBoundLogger) -> Callable[[Mapping[Partition, Span]], Range]:
    """Opens readers of ranges."""
    properties = {**kafka_properties(settings), "group.id": settings.kafka.group_id}
    return lambda spans: Range(properties, spans, log)


@contextmanager
def replay(
    settings: Settings,
    task: ReplayTask,
    who: WorkerIdentity,
    admin: Admin,
    notes: Notebook | None,
    board: JobBoard,
    log: FilteringBoundLogger,
) -> Iterator[ReplayParts]:
    """A replay with its connections, which end with the context. Without notes it keeps no progress.

    `board` shows how far it is.

    Raises:
        Unusable: As `wiring.worker.worker`.
    """
    with sending(settings, who, task.rate, log) as through:
        core = Replay(
            through.engine,
            task.scope,
            task.begun.progress,
            settings.window.max_bytes,
            ahead=settings.attentive.concurrency,
            quiet_seconds=quiet_seconds(settings),
            dry=task.dry,
        )
        with follower(settings, core, task.scope, task.starts, admin, through.source, log) as reader:
            job = ReplayJob(
                core,
                through.exchange(through.producer, lambda: core.write_by, board, *task.observers),
                reader,
                Diary(None if task.dry else notes, task.begun, anew=task.anew),
                concurrency=settings.attentive.concurrency,
                still_the_same=lambda: refuse_growth(admin, task.starts),
                say=task.say,
                stages=stages(board),
            )
            yield ReplayParts(job, core, reader)


def follower(
    settings: Settings,
    feeds: Follows,
    scope: Scope,
    starts: Mapping[Partition, int],
    admin: Admin,
    source: Schemas | None,
    log: FilteringBoundLogger,
) -> Follower:
    """Reads the log from these offsets on."""
    preflight = parts.preflight(settings)
    return Follower(
        feeds,
        scope,
        starts,
        open_reading=reading_opener(settings, source, log, preflight),
        ends=Ends(admin, starts, ENDS_SECONDS),
        preflight=preflight,
        clock=clock,
    )


def refuse_growth(admin: Admin, starts: Mapping[Partition, int]) -> None:
    """Raises TopicsUnavailable if a topic has partitions that are not read."""
    topics = {each.topic for each in starts}
    for topic, count in partition_counts(admin, topics, ENDS_SECONDS).items():
        if count > sum(each.topic == topic for each in starts):
            raise TopicsUnavailable(
                f"topic {topic} has got more partitions, so users may have moved: start the same command again"
            )
