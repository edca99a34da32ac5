"""A worker in each state, with a half hour behind it: what the page is looked at with."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from worker.core.delivery.gate import HaltReason
from worker.core.totals import Totals
from worker.live.advice import MENDS
from worker.ops.board import Board
from worker.ops.history import STEP_SECONDS, STEPS, History, LastMinute, Step
from worker.ops.status import DeadLetter, Halt, LastError, PartitionStatus, Problem, Rate, State, Status

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
SINCE = datetime(2026, 5, 4, 9, 30, 0, tzinfo=UTC)
MIB = 1 << 20

STARTING = replace(
    Status.starting(version="1.2.3", instance="attribute-worker-0-1", group_id="attribute-worker", rate_limit=150.0),
    destination="https://api.attentivemobile.com",
    settings={
        "kafka.bootstrap_servers": "kafka-0.example.com:9093,kafka-1.example.com:9093,kafka-2.example.com:9093",
        "kafka.topics": ["profile-changes"],
        "attentive.base_url": "https://api.attentivemobile.com/v1",
        "attentive.requests_per_second": 150.0,
        "window.seconds": 5.0,
        "shutdown.drain_seconds": 20.0,
        "window.max_bytes": 256 * MIB,
    },
)
RUNNING = replace(
    STARTING,
    state=State.RUNNING,
    joined=True,
    rate=Rate(150.0, 75.0),
    open_entries=412,
    in_flight=9,
    held_bytes=31 * MIB,
    held_bytes_max=256 * MIB,
    partitions=tuple(
        PartitionStatus(
            "profile-changes", number, 9_273, 9_200, 9_400, paused=number == 2, oldest_undelivered_seconds=3.5
        )
        for number in range(3)
    ),
    totals=Totals(
        records=812_345,
        changes=812_000,
        calls=98_765,
        calls_saved=713_235,
        delivered_entries=98_700,
        retries=41,
        replies=Counter({"200": 98_700, "400": 12, "429": 41, "timeout": 12}),
        dead_letters=Counter({"rejected": 12, "undecodable": 3}),
    ),
    last_error=LastError(NOW - timedelta(minutes=4), "status 429"),
    latest_dead_letters=tuple(
        DeadLetter(NOW - timedelta(minutes=7 * age + 1), reason, "profile-changes", age % 3, 9_000 + age, names)
        for age, (reason, names) in enumerate([("rejected", ("loyalty_tier", "store")), ("undecodable", ())] * 5)
    ),
)
STORM = "37 dead letters of unusable records withheld"
MET = {
    HaltReason.UNAUTHORIZED: "status 401",
    HaltReason.WRONG_URL: "status 302, which points to login.example.com/sign-in/…",
    HaltReason.UNAVAILABLE: "no connection: the name api.attentivemobile.com is not known",
    HaltReason.REJECTION_STORM: STORM,
}


def halted(reason: HaltReason) -> Status:
    """As it stands eight seconds before the next probe."""
    since, probe_at = NOW - timedelta(minutes=12), NOW + timedelta(seconds=8)
    error = LastError(NOW - timedelta(seconds=2), "status 400" if MET[reason] == STORM else MET[reason])
    halt = Halt(reason.value, since, MET[reason], MENDS[reason], None if MET[reason] == STORM else probe_at)
    return replace(RUNNING, state=State.HALTED, halt=halt, last_error=error, held_bytes=211 * MIB)


@dataclass(frozen=True)
class Scene:
    status: Status
    stall: str | None = None


SCENES = {
    "starting": Scene(STARTING),
    "starting-without-brokers": Scene(
        replace(STARTING, problem="no broker answers at kafka-0.example.com:9093", problems=(Problem.KAFKA,))
    ),
    "running": Scene(RUNNING),
    "running-with-a-problem": Scene(
        replace(RUNNING, problem="the registry at http://registry does not answer", problems=(Problem.SCHEMA_REGISTRY,))
    ),
    "running-late": Scene(
        replace(RUNNING, partitions=(replace(RUNNING.partitions[0], oldest_undelivered_seconds=9_000.0),))
    ),
    "running-with-many-letters": Scene(
        replace(
            RUNNING,
            latest_dead_letters=tuple(
                replace(letter, at=NOW - timedelta(seconds=50 * age))
                for age, letter in enumerate(RUNNING.latest_dead_letters)
            ),
        )
    ),
    "throttled": Scene(replace(RUNNING, state=State.THROTTLED, rate=Rate(150.0, 75.0, 31.5))),
    **{f"halted-{reason.value}": Scene(halted(reason)) for reason in HaltReason},
    "draining": Scene(replace(RUNNING, state=State.DRAINING)),
    "stalled": Scene(RUNNING, "The main loop has not turned for 90 s (stalled after 60 s)."),
}


def full_of(text: str) -> Status:
    """A status with this text wherever a text comes from outside."""
    return replace(
        RUNNING,
        state=State.HALTED,
        version=text,
        instance=text,
        group_id=text,
        problem=text,
        destination=text,
        halt=Halt(text, SINCE, text, text),
        last_error=LastError(SINCE, text),
        partitions=(replace(RUNNING.partitions[0], topic=text),),
        totals=Totals(dead_letters=Counter({text: 1}), replies=Counter({text: 1})),
        calls_ended={text: 1},
        latest_dead_letters=(DeadLetter(NOW - timedelta(1), text, text, 0, 1, (text, text)),),
        settings={text: text, "kafka.topics": [text]},
    )


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0 * STEP_SECONDS

    def __call__(self) -> float:
        return self.seconds


def lived(status: Status) -> History:
    """The half hour that ends with this status: a wave, an outage of the destination, and a freeze of five minutes."""
    clock = Clock()
    ended: Counter[str] = Counter()
    history = History(replace(status, totals=Totals()), clock)
    for step in range(STEPS):
        clock.seconds += STEP_SECONDS
        if 30 <= step < 50 or step < 6:
            continue
        wave = int(450 + 400 * math.sin(step / 9))
        is_out = 70 <= step < 85
        ended.update({"retry": wave // 3, "halted": 30} if is_out else {"delivered": wave, "refused": wave // 40})
        age = 4.0 + 15 * max(0, min(step - 70, 2 * (100 - step)))
        partitions = tuple(replace(each, oldest_undelivered_seconds=age) for each in status.partitions)
        history.look(
            replace(
                status,
                calls_ended=dict(ended),
                partitions=partitions,
                held_bytes=int((20 + age / 4) * MIB),
                totals=Totals(records=step * 9_000),
            )
        )
    return history


def past(status: Status) -> tuple[tuple[Step | None, ...], LastMinute]:
    """What the page is told of that half hour."""
    history = lived(status)
    return history.steps(), history.last_minute()


class Staged(Board):
    """The board of a worker in a scene, which stalls if the scene is about that."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(STARTING)
        self.publish(scene.status)
        self.history = lived(scene.status)
        self._idle_seconds = 90.0 if scene.stall else 0.0

    @property
    def seconds_since_turn(self) -> float:
        return self._idle_seconds
