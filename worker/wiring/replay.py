"""Builds a replay from its parts, as `wiring.worker` builds the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.attentive.senders import Senders
from worker.core.delivery.rate import Rate
from worker.core.delivery.spare_rate import SpareRate
from worker.core.model import Partition, SchemaId, WorkerIdentity
from worker.core.replay.replay import WRITE_SECONDS, Replay
from worker.core.replay.scope import Scope
from worker.jobs.diary import Begun, Diary
from worker.jobs.follower import Follower
from worker.jobs.reading import Reading
from worker.jobs.replay import ReplayJob
from worker.kafka.bounds import Ends
from worker.kafka.notebook import Notebook
from worker.kafka.range import Range, Span
from worker.kafka.topics import Admin, TopicsUnavailable, partition_counts
from worker.live.advice import Advice
from worker.live.exchange import Exchange
from worker.live.loop import clock
from worker.live.narrate import Narrator
from worker.live.ports import Schemas
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts

ENDS_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """What a replay is to do.

    Attributes:
        name: the job's.
        begun: what is replayed, and how far that has come.
        scope: the same range, with the users and attributes chosen.
        starts: where to begin to read each partition.
        rate: calls a second; None takes what live traffic leaves.
        dry: only find out what it would do.
        say: tells people something.
    """

    name: str
    begun: Begun
    scope: Scope
    starts: Mapping[Partition, int]
    rate: float | None
    dry: bool
    say: Callable[[str], object]


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
    settings: Settings, task: ReplayTask, who: WorkerIdentity, admin: Admin, notes: Notebook, log: FilteringBoundLogger
) -> Iterator[ReplayParts]:
    """A replay with its connections, which end with the context.

    Raises:
        Unusable: As `wiring.worker.worker`.
    """
    bearer = parts.token(settings)
    senders = parts.senders(settings, bearer, lambda: True, write_within_seconds=WRITE_SECONDS)
    source = parts.schemas(settings)
    letters = parts.dead_letters(settings, who, source, log)
    engine = parts.engine(_at_once(settings), clock(), rate=_rate(settings, task.rate), search_yields=True)
    exchange = Exchange(
        engine,
        senders=senders,
        letters=letters,
        schemas=None if source is None else _Framing(source),
        token=bearer,
        clock=clock,
        observer=Narrator(log, Advice(bearer)),
    )
    core = Replay(engine, task.scope, task.begun.progress, settings.window.max_bytes, dry=task.dry)
    follower = _follower(settings, task, core, admin, source, log)
    job = ReplayJob(
        core,
        exchange,
        follower,
        Diary(None if task.dry else notes, task.begun),
        concurrency=settings.attentive.concurrency,
        still_the_same=lambda: _refuse_growth(admin, task.starts),
        say=task.say,
    )
    senders.start()
    try:
        with follower:
            yield ReplayParts(job, core, follower)
    finally:
        _close(senders, source)
        letters.close(_CLOSE_SECONDS)


def _follower(
    settings: Settings,
    task: ReplayTask,
    core: Replay,
    admin: Admin,
    source: Schemas | None,
    log: FilteringBoundLogger,
) -> Follower:
    open_range, decoder = range_opener(settings, log), parts.decoder(settings)
    return Follower(
        core,
        task.scope,
        task.starts,
        open_reading=lambda starts: Reading(
            open_range({each: Span(start) for each, start in starts.items()}), decoder, source
        ),
        ends=Ends(admin, task.starts, ENDS_SECONDS),
        preflight=parts.preflight(settings),
        clock=clock,
    )


def _at_once(settings: Settings) -> Settings:
    """Without a window, and without receipts: only `run` writes these."""
    changed = {"window": {"seconds": 0.0}, "receipts": {"topic": None}}
    sections = {name: getattr(settings, name).model_copy(update=of) for name, of in changed.items()}
    return settings.model_copy(update=sections)


def _rate(settings: Settings, fixed: float | None) -> Rate:
    now = clock().mono
    if fixed is None:
        return SpareRate(settings.attentive.requests_per_second, now)
    rate = Rate(fixed, now)
    rate.share(1.0, now)
    return rate


def _refuse_growth(admin: Admin, starts: Mapping[Partition, int]) -> None:
    """Raises TopicsUnavailable if a topic has partitions that are not read."""
    topics = {each.topic for each in starts}
    for topic, count in partition_counts(admin, topics, ENDS_SECONDS).items():
        if count > sum(each.topic == topic for each in starts):
            raise TopicsUnavailable(
                f"topic {topic} has got more partitions, so users may have moved: start the same command again"
            )


def _close(senders: Senders, source: Schemas | None) -> None:
    senders.close(_CLOSE_SECONDS)
    if source is not None:
        source.close()


class _Framing:
    """A source of schemas for the exchange of a job. The job's reading asks for the schemas of records by itself."""

    def __init__(self, source: Schemas) -> None:
        self.dead_letter_schema_id = source.dead_letter_schema_id
        self.receipt_schema_id = source.receipt_schema_id
        self.waiting = source.waiting

    def request(self, schema_id: SchemaId) -> None:
        """Does nothing."""

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """None: they belong to the reading."""
        return []

    def close(self) -> None:
        """Does nothing: the reading's source is closed with the job."""
