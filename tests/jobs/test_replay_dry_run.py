"""What a dry run says, and what the replay then does: the same, for any range and any filter."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, TypeAlias

import httpx
import pytest

from tests.end_to_end.conftest import Lab, final_state
from tests.jobs.replaying import begin, result
from tests.support.brokers import RunningBroker
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, encode, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 3
RECORDS = 900
USERS = 90
NAMES = ("score", "segment", "store", "tier", "total")
STEP_MS = 1_000

Place: TypeAlias = tuple[str, int]
"""A topic and the number of a partition."""


@pytest.fixture
def lab(real_kafka: RunningBroker, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(real_kafka, tmp_path)
    yield lab
    lab.end()


class Said(NamedTuple):
    """A record, where it lies."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    change: Change


@dataclass(frozen=True)
class Wish:
    """A range and filters, as options and as they are meant."""

    options: tuple[str, ...]
    ranges: Mapping[Place, tuple[int, int]]
    users: frozenset[str] | None
    patterns: tuple[str, ...]

    def covers(self, said: Said) -> bool:
        start, stop = self.ranges.get((said.topic, said.partition), (0, 0))
        return start <= said.offset < stop and (self.users is None or said.change.phone in self.users)

    def names(self, change: Change) -> list[str]:
        return [name for name in change.attributes if self.matches(name)]

    def matches(self, name: str) -> bool:
        return not self.patterns or any(fnmatchcase(name, pattern) for pattern in self.patterns)


class Expected(NamedTuple):
    """What must be sent, and what not."""

    state: dict[str, dict[str, object]]
    users: int
    changes: int
    superseded: int


def expected(log: list[Said], wish: Wish) -> Expected:
    """`log` is in the order of time, which is the order in which its values count."""
    last: dict[tuple[str, str], Said] = {}
    for said in log:
        last |= {(said.change.phone, name): said for name in said.change.attributes}
    covered = [said for said in log if wish.covers(said) and wish.names(said.change)]
    state: dict[str, dict[str, object]] = {}
    for (user, name), said in last.items():
        if wish.covers(said) and wish.matches(name):
            state.setdefault(user, {})[name] = said.change.attributes[name]
    values = sum(len(wish.names(said.change)) for said in covered)
    sent = sum(map(len, state.values()))
    return Expected(state, len({said.change.phone for said in covered}), len(covered), values - sent)


def write(lab: Lab, topics: tuple[str, str], rng: random.Random) -> list[Said]:
    """Changes in two topics, a second apart. Any partition may hold any user: then the times decide."""
    producer = ordered_producer(lab.broker.bootstrap_servers)
    began = time.time_ns() // 1_000_000 - 2 * RECORDS * STEP_MS
    offsets: dict[Place, int] = {}
    log = []
    for number in range(RECORDS):
        place = rng.choice(topics), rng.randrange(PARTITIONS)
        names = rng.sample(NAMES, rng.randint(1, 3))
        change = Change(phone(rng.randrange(USERS)), {name: rng.choice([number, number % 3]) for name in names}, number)
        at = began + number * STEP_MS
        producer.produce(place[0], encode(change), change.phone.encode(), partition=place[1], timestamp=at)
        offset = offsets.get(place, 0)
        offsets[place] = offset + 1
        log.append(Said(*place, offset, at, change))
    assert producer.flush(60) == 0
    return log


def any_wish(log: list[Said], topics: tuple[str, str], rng: random.Random) -> Wish:
    """Any range and any filters."""
    options: list[str] = []
    ends: dict[Place, int] = {}
    for said in log:
        ends[said[:2]] = said.offset + 1
    chosen_topics = [topic for topic in topics if rng.random() < 0.3]
    chosen_partitions = [number for number in range(PARTITIONS) if rng.random() < 0.25]
    for topic in chosen_topics:
        options += ["--topic", topic]
    for number in chosen_partitions:
        options += ["--partition", str(number)]
    ranges = {
        place: (0, end)
        for place, end in ends.items()
        if (not chosen_topics or place[0] in chosen_topics) and (not chosen_partitions or place[1] in chosen_partitions)
    }
    since_ms: int | None = None
    if rng.random() < 0.5:
        starts = {
            place: rng.randint(0, ends[place]) for place in rng.sample(sorted(ranges), rng.randint(1, len(ranges)))
        }
        options += ["--from-offsets", _offsets(starts)]
        ranges = {place: (start, ends[place]) for place, start in starts.items()}
    else:
        since_ms = rng.choice(log).time_ms
        options += ["--from", _time(since_ms)]
        ranges = {place: (_first(log, place, since_ms, ends), stop) for place, (_, stop) in ranges.items()}
    how = rng.randrange(3)
    if how == 1:
        stops = {
            place: rng.randint(ranges[place][0] if since_ms is None else 0, ends[place])
            for place in rng.sample(sorted(ranges), rng.randint(1, len(ranges)))
        }
        options += ["--to-offsets", _offsets(stops)]
        ranges = {place: (start, max(start, stops.get(place, stop))) for place, (start, stop) in ranges.items()}
    elif how == 2 and (later := [said.time_ms for said in log if since_ms is None or said.time_ms > since_ms]):
        at = rng.choice(later)
        options += ["--to", _time(at)]
        ranges = {place: (start, max(start, _first(log, place, at, ends))) for place, (start, _) in ranges.items()}
    users = (
        None if rng.random() < 0.6 else frozenset(phone(user) for user in rng.sample(range(USERS), rng.randint(1, 40)))
    )
    for user in sorted(users or ()):
        options += ["--user", f"phone={user}"]
    patterns = tuple(rng.sample(["s*", "t*", "score", "t?er", "[st]*o*"], rng.choice([0, 0, 1, 2])))
    for pattern in patterns:
        options += ["--attribute", pattern]
    return Wish(tuple(options), ranges, users, patterns)


def _any_offsets(ranges: Iterable[Place], ends: Mapping[Place, int], rng: random.Random) -> dict[Place, int]:
    """Of some partitions of the range."""
    places = sorted(ranges)
    return {place: rng.randint(0, ends[place]) for place in rng.sample(places, rng.randint(1, len(places)))}


def _offsets(places: Mapping[Place, int]) -> str:
    return ",".join(f"{topic}/{number}:{offset}" for (topic, number), offset in places.items())


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _first(log: list[Said], place: Place, at_ms: int, ends: Mapping[Place, int]) -> int:
    return next((said.offset for said in log if said[:2] == place and said.time_ms >= at_ms), ends[place])


@pytest.mark.parametrize(
    ("seed", "rounds"), [(2, 4), *(pytest.param(seed, 8, marks=pytest.mark.long) for seed in (1, 3))]
)
def test_a_dry_run_says_exactly_what_the_replay_then_does(lab: Lab, seed: int, rounds: int) -> None:
    rng = random.Random(seed)
    topics = (lab.topic, f"{lab.topic}-more")
    for topic in topics:
        lab.broker.create_topic(topic, PARTITIONS)
    lab.broker.create_topic(lab.dead_letter_topic, 1)
    log = write(lab, topics, rng)
    sandbox = lab.sandbox("--limit", "0", "--record")
    settings = {"WORKER_KAFKA__TOPICS": ",".join(topics), "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "1000"}
    for number in range(rounds):
        wish = any_wish(log, topics, rng)
        said = f"seed {seed}, round {number}: {' '.join(wish.options)}"
        httpx.post(f"{sandbox.root}/_sandbox/reset").raise_for_status()
        plan = result(begin(lab, sandbox, *wish.options, "--name", f"try-{number}", "--dry-run", **settings))
        assert sandbox.stats()["requests"] == 0, said
        done = result(begin(lab, sandbox, *wish.options, "--name", f"try-{number}", "--rate", "900", **settings))
        want, requests = expected(log, wish), sandbox.requests()
        assert final_state(sandbox) == want.state, said
        assert plan["calls"] == done["calls"] == done["delivered"] == len(requests) == len(want.state), said
        assert len({json.dumps(request["user"]) for request in requests}) == len(requests), said
        assert plan["superseded"] == done["superseded"] == want.superseded, said
        assert (plan["users"], plan["changes"]) == (want.users, want.changes), said
        assert plan["records"] == sum(stop - start for start, stop in wish.ranges.values()), said
        ranges = {(each["topic"], each["partition"]): (each["from"], each["to"]) for each in plan["partitions"]}
        assert ranges == wish.ranges, said
