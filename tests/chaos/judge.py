"""Judges a run: checks the promises on the destination's record of requests, the topic's log and the dead letters.

A life is one worker process. Who owned a partition is seen from outside, by the "assigned" lines in the workers' logs.
Life A may send for a partition's users until life B sends for one of them. From then on A may not, until it has logged
a new assignment. After such a change of owner the new one sends the uncommitted range again, in order: there values
may step back, and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median

from tests.chaos.cast import Cast
from tests.chaos.commits import Commit, judge_commits
from tests.chaos.destination import Exchange
from tests.chaos.history import History, Item
from tests.chaos.letters import Letter, Lettered, judge_letters
from tests.chaos.traffic import Logged

AGE_SECONDS_MAX, AGE_SECONDS_MEDIAN_MAX = 180.0, 15.0
"""How long good users' changes may take beyond the window, on a machine short of CPU. Poison users must not matter."""

LEAVING_SECONDS = 1.0
"""Until the destination sees that a client has left: the next request of the same client may overtake that."""

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
    are broken promises; each item describes one. `given_up`: how many poison users have dead letters.
    """

    calls: int = 0
    delivered: int = 0
    repeated_by: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    steps_back: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    overlaps_of_frozen: int = 0
    invented: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    wrong_letters: list[str] = field(default_factory=list)
    letters_repeated: int = 0
    given_up: int = 0
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
        found = {
            "regression": self.stale,
            "step back": self.steps_back,
            "overlap": self.overlaps,
            "value that is not the user's, or must not be sent": self.invented,
            "loss": self.lost,
            "late": self.late,
            "commit past what was not settled": self.early,
            "wrong letter": self.wrong_letters,
        }
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
    letters: Sequence[Letter],
    commits: Sequence[Commit],
    cast: Cast,
    window_seconds: float,
) -> Findings:
    """Compares the requests that the destination received, and the dead letters, with the topic's log.

    Args:
        exchanges: the requests, in the order of arrival.
        log: the whole topic.
        state: what the destination holds in the end.
        lives: every worker process by its name.
        letters: every dead letter.
        commits: every commit of the group.
        cast: the users.
        window_seconds: how long a worker waits before it sends a change.
    """
    history = History(log, exchanges)
    findings = Findings(calls=len(exchanges), delivered=sum(exchange.acknowledged for exchange in exchanges))
    lettered = judge_letters(letters, history, cast)
    findings.wrong_letters, findings.letters_repeated = lettered.wrong, lettered.repeated
    findings.given_up = len(lettered.given_up)
    partition_of = {change.user: change.partition for change in log}
    by_partition: dict[int, list[Exchange]] = defaultdict(list)
    by_user: dict[str, list[Exchange]] = defaultdict(list)
    seconds: dict[int, int] = defaultdict(int)
    for exchange in exchanges:
        findings.invented += [f"{name} in {_named(exchange)}" for name in history.unknown_in(exchange)]
        by_partition[partition_of[exchange.user]].append(exchange)
        by_user[exchange.user].append(exchange)
        seconds[int(exchange.at)] += 1
    findings.busiest_second = max(seconds.values(), default=0)
    for partition, sequence in sorted(by_partition.items()):
        _check_hands(partition, sequence, lives, history, lettered, cast, findings)
    for sequence in by_user.values():
        _check_overlaps(sequence, lives, findings)
        findings.repeated_by.update(_repeated(sequence, history))
    _check_ages(dict(_ages(history, cast)), window_seconds, findings)
    findings.early = list(judge_commits(commits, history, lettered))
    findings.lost = [*_unsettled(history, lettered), *_differences(history, lettered, state)]
    return findings


def _check_hands(
    partition: int,
    sequence: Iterable[Exchange],
    lives: Mapping[str, Life],
    history: History,
    letters: Lettered,
    cast: Cast,
    findings: Findings,
) -> None:
    """Walks through a partition's requests: each sender must own the partition, and no owner may step back.

    A poison user's value may be refused alone, for good: then the older one behind it is tried. Its letter may be
    unwritten yet when its owner loses the partition. So what counts is that the destination refused it.
    """
    owner = ""
    owner_since = 0.0
    last: dict[tuple[str, str], tuple[Item, Exchange]] = {}  # by user and attribute: what the present owner sent last
    for exchange in sequence:
        if exchange.life != owner:
            if owner and not lives[exchange.life].gained_between(owner_since, exchange.at):
                findings.stale.append(f"partition {partition}: {_named(exchange)} after {owner} had begun")
                continue
            owner, owner_since, last = exchange.life, exchange.at, {}
        # A bad value is never applied. After it is refused, the older one behind it is tried.
        for item in [item for item in history.carried_by(exchange) if item.bad is None]:
            before, carrier = last.get((item.user, item.name), (item, exchange))
            given_up = not carrier.acknowledged and (
                before.place in letters.at or carrier.status == cast.poison_of(item.user)
            )
            gained = lives[owner].gained_between(carrier.at, exchange.at)
            if item.offset < before.offset and not given_up and not gained:
                findings.steps_back.append(f"{_named(exchange)} sends {item} after {before}")
            last[item.user, item.name] = item, exchange


def _check_overlaps(sequence: Sequence[Exchange], lives: Mapping[str, Life], findings: Findings) -> None:
    """Finds two requests for one user in flight. It is no fault if the older one's sender was frozen meanwhile."""
    open_: list[Exchange] = []
    for exchange in sequence:
        open_ = [older for older in open_ if _in_flight(older, exchange.at)]
        for older in open_:
            if lives[older.life].was_frozen(exchange.at):
                findings.overlaps_of_frozen += 1
            else:
                findings.overlaps.append(f"{_named(exchange)} beside {_named(older)}")
        open_.append(exchange)


def _in_flight(exchange: Exchange, at: float) -> bool:
    if exchange.ended_at is None:
        return True
    return exchange.ended_at - (LEAVING_SECONDS if exchange.status is None else 0.0) > at


def _repeated(sequence: Iterable[Exchange], history: History) -> Iterator[str]:
    """The sender of each request that is no newer than what the destination had acknowledged before."""
    acknowledged: dict[str, int] = {}  # the offset of each attribute's newest acknowledged value
    for exchange in sequence:
        carried = {item.name: item.offset for item in history.carried_by(exchange)}
        if carried and all(offset <= acknowledged.get(name, -1) for name, offset in carried.items()):
            yield exchange.life
        elif exchange.acknowledged:
            acknowledged |= carried


def _check_ages(ages: Mapping[Item, float], window_seconds: float, findings: Findings) -> None:
    """Finds what good users had to wait for too long."""
    for item, age in ages.items():
        if age > window_seconds + AGE_SECONDS_MAX:
            findings.late.append(f"{item} took {age:.1f} s")
    if ages:
        findings.age_seconds_max, findings.age_seconds_median = max(ages.values()), median(ages.values())
    if findings.age_seconds_median > window_seconds + AGE_SECONDS_MEDIAN_MAX:
        findings.late.append(f"half of all took {findings.age_seconds_median:.1f} s or longer")


def _ages(history: History, cast: Cast) -> Iterator[tuple[Item, float]]:
    """How long each good value of a good user waited for the first applied call that carried it or a later one."""
    for (user, name), row in history.rows.items():
        if (user, name) in history.blurred or cast.poison_of(user) is not None:
            continue
        applied = inf
        for item in reversed(row):
            applied = min(applied, history.applied_at.get(item.place, inf))
            if item.bad is None and applied < inf:
                yield item, applied - item.at


def _unsettled(history: History, letters: Lettered) -> Iterator[str]:
    """The values that are neither delivered nor in a dead letter, nor is one that supersedes them."""
    for item in history.clear():
        if not any(heir.place in history.applied_at or heir.place in letters.at for heir in history.heirs(item)):
            yield f"{item} is neither delivered nor in a letter"


def _differences(history: History, letters: Lettered, state: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Where the destination did not end with the last good value.

    If that one is in a letter, its user was poison, and the last one that was applied stands. In a blurred row nobody
    can tell which one that is.
    """
    found = {(user, name): value for user, attributes in state.items() for name, value in attributes.items()}
    for key in sorted(history.rows.keys() | found.keys()):
        good = [item for item in history.rows.get(key, ()) if item.bad is None]
        if good and good[-1].place in letters.at:
            if key in history.blurred:
                continue
            good = [item for item in good if item.place in history.applied_at]
        wanted, got = good[-1].value if good else None, found.get(key)
        if wanted != got:
            yield f"user {key[0][-4:]} ended with {key[1]} {got!r} for {wanted!r}"


def _named(exchange: Exchange) -> str:
    values = ", ".join(f"{name[:20]} {value!r}" for name, value in exchange.properties.items())
    return f"user {exchange.user[-4:]} with {values} of {exchange.life} at {exchange.at:.3f}"
