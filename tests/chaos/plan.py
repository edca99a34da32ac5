"""The plan of a run: which faults begin when. It is made from a seed, so that the same run can be started again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

SLOTS = 3
"""Slots of workers that run all the time. One more slot is for a worker that comes and goes."""

SPARE = SLOTS
SLOT_COUNT = SLOTS + 1
NODES = 3
QUIET_SECONDS = 8.0
"""No fault begins before this: the group must form first."""


class Kind(StrEnum):
    """Every kind of fault. Kinds are shuffled in the order of these texts: another text is another plan for a seed."""

    WORKER_KILL = "worker killed (SIGKILL), started again later"
    WORKER_FREEZE_SHORT = "worker frozen for less than its session"
    WORKER_FREEZE_LONG = "worker frozen for longer than its session"
    WORKER_STOP = "worker stopped (SIGTERM), started again at once"
    WORKERS_ROLL = "all workers stopped one by one"
    WORKER_JOIN = "one more worker, for a while"
    ISOLATION = "worker cut off from brokers and destination; the destination is within reach again first"
    KAFKA_CUT = "worker cut off from all brokers, its destination within reach"
    KAFKA_RESET = "worker's connections to the brokers reset"
    KAFKA_SLOW = "worker's connections to the brokers slow"
    KAFKA_HALF_CLOSE = "worker's connections to the brokers half closed"
    DESTINATION_CUT = "worker cut off from the destination"
    DESTINATION_RESET = "worker's connections to the destination reset"
    DESTINATION_REFUSE = "worker's connections to the destination reset, and new ones at once"
    DESTINATION_SLOW = "worker's connections to the destination slow"
    DESTINATION_HALF_CLOSE = "worker's connections to the destination half closed"
    BROKER_KILL = "broker killed (kill -9), started again later"
    BROKER_FREEZE = "broker frozen"
    BROKER_RESTART = "broker stopped in order and started again"
    LEADERS_MOVE = "leaders moved to the preferred brokers"
    ERRORS = "destination: some 500"
    OUTAGE = "destination: all 503"
    THROTTLE = "destination: some 429"
    UNAVAILABLE = "destination: some 503 with Retry-After"
    PAGES = "destination: somebody in between answers some requests with web pages"
    HANG = "destination: some requests never answered"
    LOST_REPLIES = "destination: some replies lost after the change was applied"
    POISON_500 = "users: some always answered 500, for a while"
    POISON_403 = "users: some always answered 403, for a while"
    POISON_429 = "users: some always answered 429, for a while"
    NEW_TOKEN = "destination: 401 until the new token is there"


_WORKER = {kind for kind in Kind if kind.name.startswith(("WORKER_", "KAFKA_", "DESTINATION_", "ISOLATION"))}
_WORKER -= {Kind.WORKER_JOIN}
_BROKER = {kind for kind in Kind if kind.name.startswith("BROKER_")}
_POISON = {kind for kind in Kind if kind.name.startswith("POISON_")}
_LENGTHS: dict[Kind, tuple[float, float]] = {
    Kind.WORKER_KILL: (0.0, 9.0),
    Kind.WORKER_FREEZE_SHORT: (0.5, 4.0),
    Kind.WORKER_FREEZE_LONG: (7.0, 13.0),
    Kind.WORKERS_ROLL: (20.0, 20.0),  # about as long as it takes if each drain is cut
    Kind.WORKER_JOIN: (12.0, 25.0),
    Kind.ISOLATION: (6.0, 12.0),
    Kind.KAFKA_CUT: (4.0, 14.0),
    Kind.KAFKA_SLOW: (5.0, 12.0),
    Kind.DESTINATION_CUT: (3.0, 10.0),
    Kind.DESTINATION_REFUSE: (1.0, 8.0),
    Kind.DESTINATION_SLOW: (5.0, 12.0),
    Kind.BROKER_KILL: (1.0, 6.0),
    Kind.BROKER_FREEZE: (1.0, 9.0),
    Kind.ERRORS: (4.0, 10.0),
    Kind.OUTAGE: (3.0, 12.0),
    Kind.THROTTLE: (4.0, 10.0),
    Kind.UNAVAILABLE: (3.0, 8.0),
    Kind.PAGES: (2.0, 8.0),
    Kind.HANG: (4.0, 8.0),
    Kind.LOST_REPLIES: (4.0, 10.0),
    Kind.POISON_500: (6.0, 30.0),
    Kind.POISON_403: (6.0, 30.0),
    Kind.POISON_429: (6.0, 30.0),
    Kind.NEW_TOKEN: (1.0, 5.0),
}
_SHARES = {
    Kind.ERRORS: (0.1, 0.7),
    Kind.THROTTLE: (0.1, 0.5),
    Kind.UNAVAILABLE: (0.05, 0.5),
    Kind.PAGES: (0.05, 1.0),
    Kind.HANG: (0.02, 0.2),
    Kind.LOST_REPLIES: (0.05, 0.4),
}
BROKERS_LATER_SECONDS = 4.0
"""After an isolation, the worker reaches the brokers only this long after it reaches the destination."""
_LATENCIES = {Kind.KAFKA_SLOW: (0.05, 0.8), Kind.DESTINATION_SLOW: (0.05, 1.2)}
# A target has no new fault for this long after its last one. A broker must catch up, or the next fault would leave the
# cluster without a majority.
_RECOVERY_SECONDS = {"broker": 12.0, "destination": 2.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: when it begins, in seconds since the traffic began.
        kind: what happens.
        target: a slot or a node, counted from 0; None if the kind has no choice of target.
        seconds: how long it lasts; 0 for a single event.
        amount: the share of requests that meet it, or seconds of latency each way; 0 if neither applies.
    """

    at: float
    kind: Kind
    target: int | None
    seconds: float
    amount: float

    def __str__(self) -> str:
        where = "" if self.target is None else f" #{self.target}"
        length = f" for {self.seconds:.1f} s" if self.seconds else ""
        amount = f" ({self.amount:.2f})" if self.amount else ""
        return f"{self.at:6.1f} s  {self.kind.name}{where}{length}{amount}"


def make(seed: int, seconds: float, kinds: frozenset[Kind] = frozenset(Kind)) -> list[Fault]:
    """The faults of a run of this length, in order. Kinds are dealt from a shuffled pack, so each comes up equally."""
    dice = random.Random(seed)
    faults: list[Fault] = []
    free_at: dict[str, float] = {}
    pack: list[Kind] = []
    at = QUIET_SECONDS
    while True:
        if not pack:
            pack = sorted(kinds)
            dice.shuffle(pack)
        kind = pack.pop()
        at += dice.uniform(1.0, 7.0)
        name, target = _target(kind, at, free_at, dice)
        at = max(at, free_at.get(name, 0.0))
        length = dice.uniform(*_LENGTHS.get(kind, (0.0, 0.0)))
        if at + length > seconds:
            return faults
        amount = dice.uniform(*_SHARES.get(kind, _LATENCIES.get(kind, (0.0, 0.0))))
        free_at[name] = at + length + _RECOVERY_SECONDS.get(name, 1.0)
        if kind is Kind.ISOLATION:
            free_at[name] += BROKERS_LATER_SECONDS
        if kind is Kind.WORKERS_ROLL:
            free_at |= {f"slot {slot}": at + 4.0 * SLOTS for slot in range(SLOTS)}
        faults.append(Fault(at, kind, target, length, amount))


def _target(kind: Kind, at: float, free_at: dict[str, float], dice: random.Random) -> tuple[str, int | None]:
    """Chooses a fault's target. Returns a name for it too: faults of one name never overlap."""
    if kind in _WORKER:
        slots = [slot for slot in range(SLOTS) if free_at.get(f"slot {slot}", 0.0) <= at] or list(range(SLOTS))
        slot = dice.choice(slots)
        return f"slot {slot}", slot
    if kind in _BROKER:
        return "broker", dice.randrange(NODES)
    if kind in _POISON | {Kind.WORKERS_ROLL, Kind.WORKER_JOIN, Kind.LEADERS_MOVE}:
        return kind.name, None
    return "destination", None
