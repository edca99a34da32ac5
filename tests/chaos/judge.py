"""Judges a run: checks the promises on the destination's record of requests and on the topic's log.

A life is one worker process. Who owned a partition is seen from outside, by the "assigned" lines in the workers' logs.
Life A may send for a partition's users until life B sends for one of them. From then on A may not, until it has logged
a new assignment. After such a change of owner the new one sends the uncommitted range again, in order: there versions
may step back, and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.destination import Exchange
from tests.chaos.traffic import Logged, fold

_SHOWN = 5


@dataclass(slots=True)
class Life:
    """One worker process, as seen from outside; epoch seconds.

    Attributes:
        assigned_at: when it logged that it was assigned partitions, ascending.
        frozen: the spans in which SIGSTOP had stopped it.
    """

    name: str
    assigned_at: list[float] = field(default_factory=list)
    frozen: list[tuple[float, float]] = field(default_factory=list)

    def gained_between(self, after: float, until: float) -> bool:
        """Whether it was assigned partitions in this span."""
        return bisect_right(self.assigned_at, until) > bisect_right(self.assigned_at, after)

    def was_frozen(self, at: float) -> bool:
        return any(begin <= at <= end for begin, end in self.frozen)


@dataclass(slots=True)
class Findings:
    """What the judge counted and found.

    `repeated_by` counts each life's calls with nothing newer than the destination had acknowledged before. The lists
    `stale`, `steps_back`, `overlaps` and `lost` are broken promises; each item describes one.
    """

    calls: int = 0
    delivered: int = 0
    repeated_by: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    steps_back: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    overlaps_of_frozen: int = 0
    lost: list[str] = field(default_factory=list)
    age_seconds_max: float = 0.0
    age_seconds_median: float = 0.0
    busiest_second: int = 0

    @property
    def repeated(self) -> int:
        """Calls with nothing newer than the destination had acknowledged before."""
        return self.repeated_by.total()

    @property
    def broken(self) -> list[str]:
        """The promises that did not hold, with examples."""
        found = {"regression": self.stale, "step back": self.steps_back, "overlap": self.overlaps, "loss": self.lost}
        return [
            f"{len(seen)} x {name}: {'; '.join(seen[:_SHOWN])}{' …' if len(seen) > _SHOWN else ''}"
            for name, seen in found.items()
            if seen
        ]


def judge(
    exchanges: Sequence[Exchange],
    log: Sequence[Logged],
    state: Mapping[str, Mapping[str, object]],
    lives: Mapping[str, Life],
) -> Findings:
    """Compares the requests that the destination received with the topic's log.

    Args:
        exchanges: the requests, in the order of arrival.
        log: the whole topic.
        state: what the destination holds in the end.
        lives: every worker process by its name.
    """
    findings = Findings(calls=len(exchanges), delivered=sum(exchange.status == 200 for exchange in exchanges))
    partition_of = {change.user: change.partition for change in log}
    by_partition: dict[int, list[Exchange]] = defaultdict(list)
    by_user: dict[str, list[Exchange]] = defaultdict(list)
    seconds: dict[int, int] = defaultdict(int)
    for exchange in exchanges:
        by_partition[partition_of[exchange.user]].append(exchange)
        by_user[exchange.user].append(exchange)
        seconds[int(exchange.at)] += 1
    findings.busiest_second = max(seconds.values(), default=0)
    for partition, sequence in sorted(by_partition.items()):
        _check_hands(partition, sequence, lives, findings)
    for sequence in by_user.values():
        _check_overlaps(sequence, lives, findings)
        findings.repeated_by.update(_repeated(sequence))
    ages = sorted(_ages(log, by_user))
    if ages:
        findings.age_seconds_max, findings.age_seconds_median = ages[-1], ages[len(ages) // 2]
    findings.lost = list(_losses(fold(log), state))
    return findings


def _check_hands(partition: int, sequence: Iterable[Exchange], lives: Mapping[str, Life], findings: Findings) -> None:
    """Walks through a partition's requests: each sender must own the partition, and no owner may step back."""
    owner = ""
    owner_since = 0.0
    last: dict[str, Exchange] = {}  # the present owner's last request for each user
    for exchange in sequence:
        if exchange.life != owner:
            if owner and not lives[exchange.life].gained_between(owner_since, exchange.at):
                findings.stale.append(f"partition {partition}: {_named(exchange)} after {owner} had begun")
                continue
            owner, owner_since, last = exchange.life, exchange.at, {}
        before = last.get(exchange.user)
        if (
            before is not None
            and exchange.version < before.version
            and not lives[owner].gained_between(before.at, exchange.at)
        ):
            findings.steps_back.append(f"partition {partition}: {_named(exchange)} after version {before.version}")
        last[exchange.user] = exchange


def _check_overlaps(sequence: Sequence[Exchange], lives: Mapping[str, Life], findings: Findings) -> None:
    """Finds two requests for one user in flight. It is no fault if the older one's sender was frozen meanwhile."""
    open_: list[Exchange] = []
    for exchange in sequence:
        open_ = [older for older in open_ if older.ended_at is None or older.ended_at > exchange.at]
        for older in open_:
            if lives[older.life].was_frozen(exchange.at):
                findings.overlaps_of_frozen += 1
            else:
                findings.overlaps.append(f"{_named(exchange)} beside {_named(older)}")
        open_.append(exchange)


def _repeated(sequence: Iterable[Exchange]) -> Iterator[str]:
    """The sender of each request that is no newer than what the destination had acknowledged before."""
    acknowledged = 0
    for exchange in sequence:
        if exchange.version <= acknowledged:
            yield exchange.life
        elif exchange.status == 200:
            acknowledged = exchange.version


def _ages(log: Iterable[Logged], by_user: Mapping[str, Sequence[Exchange]]) -> Iterator[float]:
    """How long each change waited for the first applied call that carried it or a later one; in seconds."""
    applied = {
        user: iter([exchange for exchange in sequence if exchange.applied]) for user, sequence in by_user.items()
    }
    current: dict[str, Exchange | None] = {}
    for change in log:  # in order within each user, as a user lies in one partition
        if change.user not in current:
            current[change.user] = next(applied.get(change.user, iter(())), None)
        exchange = current[change.user]
        while exchange is not None and exchange.version < change.version:
            exchange = current[change.user] = next(applied[change.user], None)
        if exchange is not None:
            yield exchange.at - change.at


def _losses(expected: Mapping[str, Mapping[str, object]], found: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    for user in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(user, {}), found.get(user, {})
        names = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
        if names:
            values = ", ".join(f"{name} {got.get(name)!r} for {wanted.get(name)!r}" for name in names[:3])
            yield f"user {user[-4:]} ended with {values}"


def _named(exchange: Exchange) -> str:
    return f"user {exchange.user[-4:]} version {exchange.version} of {exchange.life} at {exchange.at:.3f}"
