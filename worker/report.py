"""The engine's state in the terms of `/status` and of the metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from worker.core.engine import Engine
from worker.core.model import Now, Partition, Reply
from worker.core.verdict import Verdict, judge
from worker.ops.status import Halt, PartitionStatus, Rate, State, Status, Totals
from worker.ops.telemetry import Outcome

_OUTCOMES: Final[Mapping[Verdict, Outcome]] = {
    Verdict.DELIVERED: "delivered",
    Verdict.REFUSED: "refused",
    Verdict.NOT_FOUND: "dead_letter",
    Verdict.UNEXPECTED: "dead_letter",
    Verdict.RETRY: "retry",
    Verdict.THROTTLED: "retry",
    Verdict.UNAUTHORIZED: "halted",
    Verdict.WRONG_URL: "halted",
    Verdict.ABORTED: "aborted",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process this is."""

    version: str
    instance: str
    group_id: str


@dataclass(frozen=True, slots=True)
class Membership:
    """The Kafka side of things. Offsets are those of the next record."""

    joined: bool = False
    committed: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)
    paused: Collection[Partition] = ()
    problem: str | None = None


def outcome_of(reply: Reply) -> Outcome:
    """What became of a call, in the words of the metrics."""
    return _OUTCOMES[judge(reply, ever_delivered=True)]


def status_of(
    engine: Engine,
    identity: Identity,
    now: Now,
    membership: Membership,
    *,
    draining: bool,
    token_problem: str | None,
) -> Status:
    """A snapshot for the board."""
    partitions = tuple(
        PartitionStatus(
            topic=partition.topic,
            partition=partition.number,
            position=progress.position,
            committed=membership.committed.get(partition),
            end=membership.ends.get(partition),
            paused=partition in membership.paused,
            oldest_undelivered_seconds=_age_seconds(progress.oldest_undelivered_ms, now),
        )
        for partition, progress in sorted(engine.progress().items())
    )
    return Status(
        state=_state(engine, now, joined=membership.joined, draining=draining),
        halt=_halt(engine, token_problem),
        version=identity.version,
        instance=identity.instance,
        group_id=identity.group_id,
        rate=Rate(limit=engine.rate_limit, share=engine.rate_share, current=engine.rate_allowed),
        open_entries=engine.open_entries,
        in_flight=engine.in_flight,
        held_bytes=engine.held_bytes,
        partitions=partitions,
        totals=_totals(engine),
        joined=membership.joined,
        problem=membership.problem,
    )


def _state(engine: Engine, now: Now, *, joined: bool, draining: bool) -> State:
    if draining:
        return State.DRAINING
    if engine.halt is not None:
        return State.HALTED
    if not joined:
        return State.STARTING
    return State.THROTTLED if engine.throttled(now) else State.RUNNING


def _halt(engine: Engine, token_problem: str | None) -> Halt | None:
    halt = engine.halt
    if halt is None:
        return None
    since = datetime.fromtimestamp(halt.since_ms / 1000, UTC)
    return Halt(str(halt.reason), since, token_problem or halt.detail)


def _totals(engine: Engine) -> Totals:
    totals = engine.totals
    return Totals(
        records=totals.records,
        tombstones=totals.tombstones,
        changes=totals.changes,
        passed_over=totals.passed_over,
        ignored=totals.ignored,
        calls=totals.calls,
        calls_saved=totals.calls_saved,
        delivered_entries=totals.delivered_entries,
        retries=totals.retries,
        shared_users=totals.shared_users,
        dead_letters=totals.dead_letters,
        replies=totals.replies,
    )


def _age_seconds(timestamp_ms: int | None, now: Now) -> float | None:
    return None if timestamp_ms is None else max(0.0, (now.wall_ms - timestamp_ms) / 1000)
