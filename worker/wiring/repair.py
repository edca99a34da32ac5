"""Builds what `verify --repair` sends with: a replay of single values, which keeps no progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from worker.core.facts import Observer
from worker.core.replay.progress import Progress
from worker.core.replay.scope import Scope
from worker.jobs.diary import Begun
from worker.jobs.repair import Positions, Repair
from worker.jobs.replay import ReplayJob
from worker.kafka.topics import Admin
from worker.ops.job_board import JobBoard
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.replay import ReplayTask, replay


def repair(settings: Settings, rate: float | None, admin: Admin, board: JobBoard, log: FilteringBoundLogger) -> Repair:
    """The repair, ready to send. `board` shows how far it is.

    A run of it that is killed has nothing to go on from: the next one compares anew.
    """

    @contextmanager
    def open_replay(scope: Scope, starts: Positions, observer: Observer) -> Iterator[ReplayJob]:
        task = ReplayTask(
            name="repair",
            begun=Begun(scope.offsets, "", Progress()),
            anew=True,
            scope=scope,
            starts=starts,
            rate=rate,
            dry=False,
            say=lambda _: None,
            observers=(observer,),
        )
        with replay(settings, task, parts.identity(settings), admin, None, board, log) as built:
            yield built.job

    return Repair(open_replay)
