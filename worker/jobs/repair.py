"""Sends again what the destination should hold: exactly the values that differ, by a replay of just these."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from worker.core.facts import Fact, LetterWritten, Observer
from worker.core.model import Partition, Reason, UserKey
from worker.core.replay.scope import Offsets, Scope
from worker.jobs.findings import Wrong
from worker.jobs.replay import ReplayJob
from worker.jobs.standstill import Watch
from worker.jobs.unfinished import Unfinished

Positions: TypeAlias = Mapping[Partition, int]
OpenReplay: TypeAlias = Callable[[Scope, Positions, Observer], AbstractContextManager[ReplayJob]]
"""A replay of this scope, which reads the partitions from these offsets on, and tells its facts."""
Refused: TypeAlias = Mapping[tuple[UserKey, str], Reason]
"""Of a user and an attribute: why a value became a dead letter."""


class Repair:
    """Sends values by a replay.

    Args:
        open_replay: see there.
        clock: in monotonic seconds.
    """

    def __init__(self, open_replay: OpenReplay, clock: Callable[[], float] = time.monotonic) -> None:
        self._open_replay = open_replay
        self._clock = clock

    def send(self, wrong: Sequence[Wrong], positions: Positions, stopped: Callable[[], bool]) -> Refused:
        """Sends these values, unless a later change has come. `positions`: the topic was read so far.

        Returns what the destination refused. Ends early once `stopped`.

        Raises:
            Unfinished: Something held it up for two minutes: a halt, or the brokers.
            RangeFailed, TopicsUnavailable, SendersStoppedError: As `ReplayJob.run`.
        """
        refusals, watch = _Refusals(wrong), Watch(self._clock)
        scope, starts = _scope_of(wrong, positions)
        with self._open_replay(scope, starts, refusals) as job:

            def held_up() -> bool:
                return watch.is_stuck((job.standing, job.obstacle is None)) and job.obstacle is not None

            if not job.run(lambda: stopped() or held_up()) and not stopped():
                raise Unfinished(f"sending stands still: {job.obstacle}")
        return refusals.found


def _scope_of(wrong: Sequence[Wrong], positions: Positions) -> tuple[Scope, Positions]:
    """The scope that has exactly these values, and where to begin to read: no part of the log that is not needed."""
    only: dict[tuple[Partition, int], set[str]] = defaultdict(set)
    for each in wrong:
        only[each.last.source.partition, each.last.source.offset].add(each.attribute)
    starts = dict(positions)
    for partition, offset in only:
        starts[partition] = min(starts[partition], offset)
    return Scope({each: Offsets(start, positions[each]) for each, start in starts.items()}, only=only), starts


class _Refusals:
    """An observer of which values became dead letters. A letter names a record of its user, and attributes."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        self._users = {(each.last.source.partition, each.last.source.offset): each.subject.key for each in wrong}
        self.found: dict[tuple[UserKey, str], Reason] = {}

    def observe(self, fact: Fact) -> None:
        """Notes what a dead letter is about."""
        if not isinstance(fact, LetterWritten) or fact.partition is None or fact.offset is None:
            return
        user = self._users.get((fact.partition, fact.offset))
        if user is not None:
            self.found.update(((user, name), fact.reason) for name in fact.names)
