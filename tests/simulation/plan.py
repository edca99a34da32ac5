"""What a seed stands for: the cluster, the records that are produced, and the faults.

A plan is plain data, so the shrinker can run it again with parts removed. Chance inside the run (latencies, jitter,
which replies get lost) comes from the run's own generator, seeded with the plan's seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.simulation.timeline import BEGINNING
from worker.core.model import User
from worker.core.options import Options

PRODUCE_SECONDS = 20.0
FAULT_SECONDS = 30.0  # no fault begins later than this, and none lasts beyond QUIET
QUIET = BEGINNING + 45.0
DRAIN_SECONDS = 4.0
SESSION_SECONDS = 9.0  # longer than a drain and a request together: the real settings must keep to that too
LEASE_SECONDS = 8.0
COMMIT_SECONDS = 2.0
# When all faults are over, healthy users change again, round by round: some halts end only with a success.
CLOSER = 900  # the first healthy user's number
CLOSERS = 6  # healthy users in each partition
CLOSING_SECONDS = 15.0  # from one round to the next

GOOD_TIERS = ("gold", "silver", "bronze")
BAD_TIERS = ("lead", "tin")
LATE_TIER = "lead"  # the destination takes it from some instant on, where a redrive is to run
TIER, AGE, FREE = "tier", "age", "free"  # an enumeration; pinned to numbers; pinned by the first value that arrives
TOO_LONG = "n" * 201
DENIED = "ssn"

NETWORK = ("outage", "unauthorized", "wrong_url", "throttle", "slow", "flaky", "siphon", "poison")
FOREIGN = "foreign"  # somebody in between answers
MEMBERS = ("crash", "freeze", "isolate", "stop", "join", "rebalance")
BROKER = ("commit_fails", "commit_slow", "letters_fail", "letters_slow", "registry_down", "clock", "retain")

JOB = ("job_killed", "job_frozen", "job_stopped", "job_reads_slowly", "ends_come_late", "notes_fail", "notes_slow")


@dataclass(frozen=True, slots=True)
class Produced:
    """A record to produce at `at`. `kind`: change, tombstone, garbage, or nobody (an event without identity).

    `gap`: offsets left unused before it. `schema`: the id of its schema.
    """

    at: float
    partition: int
    user: int
    kind: str
    attributes: Mapping[str, object]
    gap: int
    schema: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault from `at`, for `seconds`. `target`: the slot of a worker, or a partition; `how`: a variant of `kind`."""

    at: float
    seconds: float
    kind: str
    target: int
    how: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A replay or a redrive to run beside the workers.

    Attributes:
        at: when its first process starts.
        parts: of each partition's log as it is then: where the range begins, and how much of what follows it takes.
        attributes: patterns of names.
        max_bytes: the memory of its index.
        concurrency: requests in flight.
        extended_at: when the destination begins to take a value of `TIER` that it has refused. None: it is a replay.
    """

    at: float
    parts: tuple[tuple[float, float], ...]
    attributes: tuple[str, ...]
    max_bytes: int
    concurrency: int
    extended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run needs to know beforehand."""

    seed: int
    partitions: int
    workers: int
    eager: bool
    options: Options
    hints: bool
    pinned: bool  # whether FREE is pinned to a type before the first call
    latency_seconds: float
    largest_call: int  # attributes in a call; above it the destination answers 413
    poll_records: int
    not_found: frozenset[int]
    unexpected: frozenset[int]
    poison: frozenset[int]
    shared: frozenset[int]  # users whose records lie in two partitions
    records: tuple[Produced, ...]
    faults: tuple[Fault, ...]
    backoff_max_seconds: float = 4.0
    odd_users: Mapping[int, int] = field(default_factory=dict)  # the status that each of them always gets
    failing_share: float = 0.0  # of all calls, at random, until all faults are over
    wish: Wish | None = None
    delivered_share_min: float = 0.0  # of the deliverable changes, shortly after the last one was produced

    @property
    def brokers_lead(self) -> bool:
        """Whether the group follows KIP-848: a member that is cut off does not notice by itself that it is expelled."""
        return not self.eager and self.seed % 2 == 1


def user_of(number: int) -> User:
    """The n-th user, as every event names it."""
    match number % 3:
        case 0:
            return User(phone=f"+1311{number:07d}")
        case 1:
            return User(email=f"user{number}@example.com")
        case _:
            return User(client_user_id=f"u{number}")


USERS = {number: user_of(number) for number in (*range(100), *range(CLOSER, CLOSER + 50))}
NUMBERS = {user: number for number, user in USERS.items()}


def make(seed: int) -> Plan:
    """The plan of a seed. Each seed mixes only some faults: all at once would hide what each does alone."""
    rng = random.Random(seed)
    partitions, workers, users = rng.randint(1, 4), rng.randint(1, 3), rng.choice((2, 5, 15, 40, 60))
    small = rng.random() < 0.4  # a memory budget that a few entries fill
    # No unknown users with a small budget: where they, or withheld letters, fill it, no probe can ever end the halt.
    odd = [] if small else [number for number in range(users) if rng.random() < 0.1]
    shared = frozenset(number for number in range(users) if number % 3 == 0 and partitions > 1 and rng.random() < 0.2)
    options = Options(
        window_seconds=rng.choice((0.0, 0.3, 1.0, 3.0)),
        max_bytes=rng.choice((12_000, 40_000)) if small else 10_000_000,
        requests_per_second=float(rng.choice((12, 20, 50, 150))),
        concurrency=rng.choice((1, 3, 8, 32)),
        timeout_seconds=2.0,
        retry_after_max_seconds=6.0,
        probe_max_seconds=3.0,
        server_error_seconds=8.0,
        calls_per_entry_max=rng.choice((8, 40, 40)),
        storm_letters_max=1_000 if small else rng.choice((3, 40)),
        storm_share_max=0.5,
    )
    plan = Plan(
        seed=seed,
        partitions=partitions,
        workers=workers,
        eager=rng.random() < 0.5,
        options=options,
        hints=rng.random() < 0.5,
        pinned=rng.random() < 0.5,
        latency_seconds=rng.choice((0.005, 0.05, 0.2)),
        largest_call=rng.choice((3, 100, 100, 100)),
        poll_records=rng.choice((1, 7, 500, 500)),
        not_found=frozenset(odd[::3]),
        unexpected=frozenset(odd[1::3]),
        poison=frozenset(odd[2::3]),
        shared=shared,
        records=_records(rng, partitions, users, shared),
        faults=_faults(rng, partitions, workers),
    )
    return _with_sparing(plan if small else _with_odd_destination(plan, users))


def _with_sparing(plan: Plan) -> Plan:
    """Half of the plans spare unchanged values, and most of theirs are unchanged: by a generator of its own."""
    rng = random.Random(f"sparing {plan.seed}")
    if rng.random() < 0.5:
        return plan
    options = replace(
        plan.options,
        sparing_users_max=rng.choice((1, 5, 1_000, 1_000)),
        sparing_seconds=rng.choice((2.0, 1_000.0, 1_000.0)),
    )
    latest: dict[int, dict[str, object]] = {}
    return replace(plan, options=options, records=tuple(_repeating(rng, each, latest) for each in plan.records))


def _repeating(rng: random.Random, produced: Produced, latest: dict[int, dict[str, object]]) -> Produced:
    """The record, mostly with the values that stand in the user's records before it."""
    if produced.kind != "change":
        return produced
    values = latest.setdefault(produced.user, {})
    attributes = {name: value for name, value in produced.attributes.items() if name[0] != "p" or rng.random() < 0.3}
    for name, choices in ((TIER, (*GOOD_TIERS, *BAD_TIERS)), (AGE, (1, 1.0, 2, True))):
        if name in attributes or rng.random() < 0.2:
            values[name] = attributes.get(name, rng.choice(choices))
        if name in values and rng.random() < 0.9:
            attributes[name] = values[name]
    return replace(produced, attributes=attributes)


def _with_odd_destination(plan: Plan, users: int) -> Plan:
    """Users that always fail, calls that fail at random, and somebody in between: by a generator of its own."""
    rng = random.Random(f"destination {plan.seed}")
    others = {*plan.not_found, *plan.unexpected, *plan.poison, *plan.shared}
    # A user that is refused with each value makes many letters: with little credit for these, a storm takes too long.
    odd_max = users if plan.options.storm_letters_max >= 40 else 0
    odd = [user for user in range(odd_max) if user not in others and rng.random() < 0.1]
    foreign = [
        Fault(BEGINNING + rng.uniform(0.0, FAULT_SECONDS), rng.uniform(0.5, 12.0), FOREIGN, 0, how)
        for how in ("404", "405", "200 page", "403 page")
        if rng.random() < 0.1
    ]
    return replace(
        plan,
        odd_users={user: rng.choice((500, 403, 429)) for user in odd} if rng.random() < 0.25 else {},
        failing_share=rng.choice((0.05, 0.1, 0.3, 0.5)) if rng.random() < 0.15 else 0.0,
        faults=tuple(sorted((*plan.faults, *foreign), key=lambda fault: fault.at)),
    )


def _records(rng: random.Random, partitions: int, users: int, shared: frozenset[int]) -> tuple[Produced, ...]:
    count = rng.randint(120, 280)
    # A backlog, a stream and a burst: they strain the window and the budget in different ways.
    times = sorted(rng.choice((0.0, rng.uniform(0, PRODUCE_SECONDS), 7.0 + rng.random())) for _ in range(count))
    odd_kinds = rng.random() < 0.4
    refused = rng.choice((0.0, 0.1, 0.4))
    new_schemas = rng.random() < 0.3
    records = []
    for number, at in enumerate(times):
        user = rng.randrange(users)
        kind = "change"
        if odd_kinds and rng.random() < 0.1:
            kind = rng.choice(("tombstone", "garbage", "nobody"))
        records.append(
            Produced(
                at=BEGINNING + at,
                partition=(user + (user in shared and rng.random() < 0.5)) % partitions,
                user=user,
                kind=kind,
                attributes={} if kind in {"tombstone", "garbage"} else _attributes(rng, number, refused),
                gap=rng.randint(1, 5) if rng.random() < 0.1 else 0,
                schema=1 + (number // 40 if new_schemas else 0),
            )
        )
    return tuple(records)


def _attributes(rng: random.Random, number: int, refused: float) -> dict[str, object]:
    """Attributes of a record. Values of p0, p1 ... are unique, so that each one names the change it came from."""
    attributes: dict[str, object] = {f"p{index}": number for index in range(6) if rng.random() < 0.3}
    if rng.random() < 0.4:
        attributes[TIER] = rng.choice(BAD_TIERS if rng.random() < refused else GOOD_TIERS)
    if rng.random() < 0.3:
        # True == 1 == 1.0 in Python, but to the destination they are different values.
        attributes[AGE] = rng.choice((True, "1", "two") if rng.random() < refused else (1, 1.0, 2, number))
    if rng.random() < 0.2:
        attributes[FREE] = rng.choice((number, f"text {number}") if rng.random() < refused else (number,))
    if rng.random() < 0.05:
        name, value = rng.choice((("p0", None), ("p1", [1, 2]), (TOO_LONG, number), (DENIED, number)))
        attributes[name] = value
    return attributes


def _faults(rng: random.Random, partitions: int, workers: int) -> tuple[Fault, ...]:
    kinds = [kind for kind in (*NETWORK, *MEMBERS, *BROKER) if rng.random() < 0.2]
    faults = []
    for kind in kinds:
        for _ in range(rng.randint(1, 3)):
            target = rng.randrange(partitions if kind == "retain" else workers)
            at = BEGINNING + rng.uniform(0.0, FAULT_SECONDS)
            faults.append(Fault(at, _seconds(rng, kind), kind, target, _variant(rng, kind)))
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _seconds(rng: random.Random, kind: str) -> float:
    if kind in {"freeze", "isolate"}:
        return rng.choice((1.0, 5.0, 14.0))
    return rng.uniform(0.5, 12.0)


def _variant(rng: random.Random, kind: str) -> str:
    variants = {
        "outage": ("500", "502", "503", "408", "425", "connect", "timeout", "broken"),
        "unauthorized": ("401", "403", "no_token"),
        "wrong_url": ("path", "302"),
        "throttle": ("bare", "after"),
        "flaky": ("refused", "lost", "both"),
        "freeze": ("amid", "between"),
        "clock": ("-3600", "3600", "-5", "86400"),
        "retain": ("committed", "committed", "everything"),
    }
    return rng.choice(variants.get(kind, ("",)))


def without(plan: Plan, *, records: frozenset[int] = frozenset(), faults: frozenset[int] = frozenset()) -> Plan:
    """The plan without some of its records and faults, given by index."""
    return replace(
        plan,
        records=tuple(record for index, record in enumerate(plan.records) if index not in records),
        faults=tuple(fault for index, fault in enumerate(plan.faults) if index not in faults),
    )
