"""Builds the parts of `verify` from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.attentive.lookups import Lookups
from worker.backoff import full_jitter
from worker.core.delivery.rate import Rate
from worker.core.facts import Observer
from worker.core.model import Partition, User
from worker.core.replay.scope import Matcher
from worker.core.rules.policy import AttributeRules, Decision, Policy
from worker.jobs.asking import Asking
from worker.jobs.spans import ASK_SECONDS, Reach
from worker.jobs.topic import Topic
from worker.jobs.verify import GRACE_MS, Verify, Wish
from worker.kafka import bounds
from worker.kafka.topics import Admin
from worker.ops.job_board import JobBoard
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.reading import reading_opener
from worker.wiring.repair import repair
from worker.wiring.watch import stages

SHARE: Final = 0.1  # of the token's limit, if no rate is given: the rest is for live traffic


@dataclass(frozen=True, slots=True)
class Task:
    """What was asked for.

    Attributes:
        reaches: what to read.
        includes: whether a user is to be compared.
        users_max: how many, as a sample. None: all that are included.
        patterns: of attribute names. None of them: all.
        rate: calls a second. None: a share of the token's limit.
        from_earliest: whether nothing was left out at the beginning.
        repair: whether to mend what differs.
    """

    reaches: Mapping[Partition, Reach]
    includes: Callable[[User], bool]
    users_max: int | None
    patterns: tuple[str, ...]
    rate: float | None
    from_earliest: bool
    repair: bool

    @property
    def is_whole(self) -> bool:
        """Whether all that was ever written is read."""
        return self.from_earliest and all(reach.start == 0 for reach in self.reaches.values())


@contextmanager
def verify(
    settings: Settings, task: Task, admin: Admin, board: JobBoard, log: FilteringBoundLogger
) -> Iterator[Verify]:
    """The job, ready to run. Its connections are closed at the end. `board` shows how far it is.

    Raises:
        Unusable: The settings do not make its parts.
        PropertiesRefused: librdkafka does not accept the Kafka properties.
    """
    if task.repair:
        settings = _half_the_memory(settings)
    lookups = _lookups(settings)
    schemas = parts.schemas(settings)
    try:
        topic = Topic(
            {each: reach.start for each, reach in task.reaches.items()},
            open_reading=reading_opener(settings, schemas, log),
            ends=lambda: bounds.ends(admin, task.reaches, ASK_SECONDS),
            preflight=parts.preflight(settings),
            stages=stages(board),
        )
        with topic:
            mending = repair(settings, task.rate, admin, board, log) if task.repair else None
            yield Verify(
                topic, _asking(settings, task, lookups, board), _wish(settings, task), mending, stages=stages(board)
            )
    finally:
        lookups.close()
        if schemas is not None:
            schemas.close()


def _half_the_memory(settings: Settings) -> Settings:
    """What was compared is still held while a replay holds what it sends."""
    window = settings.window.model_copy(update={"max_bytes": settings.window.max_bytes // 2})
    return settings.model_copy(update={"window": window})


def _lookups(settings: Settings) -> Lookups:
    attentive = settings.attentive
    try:
        return Lookups(
            attentive.base_url,
            parts.token(settings),
            user_agent=parts.USER_AGENT,
            timeout_seconds=attentive.timeout_seconds,
            connection_age_max_seconds=attentive.connection_age_max_seconds,
        )
    except ValueError as error:
        raise parts.Unusable(f"attentive: {error}") from None


def _asking(settings: Settings, task: Task, lookups: Lookups, observer: Observer) -> Asking:
    attentive, now = settings.attentive, time.monotonic()
    rate = Rate(attentive.requests_per_second if task.rate is None else task.rate, now)
    rate.share(SHARE if task.rate is None else 1.0, now)
    return Asking(
        lookups,
        rate,
        at_once=attentive.concurrency,
        backoff=full_jitter(attentive.retry_base_seconds, attentive.retry_max_seconds),
        retry_after_max_seconds=attentive.retry_after_max_seconds,
        observer=observer,
    )


def _wish(settings: Settings, task: Task) -> Wish:
    policy = Policy(AttributeRules(**settings.attributes.model_dump()))

    matches = Matcher(task.patterns)

    def belongs(name: str) -> bool:
        """An attribute that the allow-list leaves out is another system's."""
        return policy.decide(name) is not Decision.PASS_OVER

    return Wish(
        includes=task.includes,
        matches=matches,
        users_max=task.users_max,
        bytes_max=settings.window.max_bytes,
        grace_ms=round(settings.window.seconds * 1000) + GRACE_MS,
        belongs=belongs if task.is_whole else None,
    )
