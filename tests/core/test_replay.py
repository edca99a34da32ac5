"""A replay beside live traffic, in virtual time: what the log says last of each value stands in the end."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field

import pytest

from tests.core.drive import STARTED, Driver, phone
from tests.support.marks import slow_after
from worker.core.model import Call, Now, Partition, Reply, User, UserKey
from worker.core.replay.freshness import FRESH_SECONDS
from worker.core.replay.progress import Progress
from worker.core.replay.replay import Phase, Replay
from worker.core.replay.said import Said
from worker.core.replay.scope import Offsets, Scope

PARTITIONS = [Partition("profile-changes", number) for number in range(3)]
NAMES = ("tier", "store", "points")
TURN_SECONDS = 0.05
SEEDS = slow_after(10, range(100))


def key(user: int) -> UserKey:
    return UserKey("phone", "", phone(user))


@dataclass
class World:
    """A log that grows, live workers that coalesce each user's changes for a while, and a destination.

    Every value is higher than the one before. With `trouble`, the destination fails at times and refuses some values.
    """

    rng: random.Random
    window_seconds: float = 1.0
    trouble: bool = False
    log: dict[Partition, list[Said]] = field(default_factory=lambda: {each: [] for each in PARTITIONS})
    held: dict[str, dict[str, object]] = field(default_factory=lambda: defaultdict(dict))
    live: dict[str, tuple[float, dict[str, object]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    history: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    written: int = 0

    def called(self, call: Call, now: float) -> None:
        """A call starts: whatever is in the log for long enough must be known to it.

        It may step back behind values that the destination refuses.
        """
        self.calls.append(call)
        for name, value in call.properties.items():
            history = self.history[str(call.user.phone), name]
            known = [other for at, other in history if at < now - FRESH_SECONDS and not self.refuses(other)]
            assert value >= max(known, default=0), (name, value, known)  # type: ignore[operator]  # all are numbers

    def refuses(self, value: object) -> bool:
        """Whether the destination never takes this value."""
        return self.trouble and int(value) % 13 == 0  # type: ignore[call-overload]  # all are numbers

    def answer(self, call: Call) -> Reply:
        """What the destination answers to a call of the job."""
        if self.trouble and self.rng.random() < 0.15:
            return Reply(self.rng.choice([500, 503, 429]))
        return Reply(400 if any(map(self.refuses, call.properties.values())) else 200)

    def append(self, user: int, now: float | None = None) -> None:
        """A change of a user; with `now`, live workers send it soon."""
        partition = PARTITIONS[user % len(PARTITIONS)]
        names = self.rng.sample(NAMES, self.rng.randint(1, len(NAMES)))
        self.written += 1
        values = dict.fromkeys(names, self.written)
        for name in names:
            self.history[phone(user), name].append((-math.inf if now is None else now, self.written))
        written_at = STARTED if now is None else Now(now, STARTED.wall_ms + int((now - STARTED.mono) * 1_000))
        said = Said(
            key(user), User(phone(user)), values, partition, len(self.log[partition]), written_at.wall_ms, b"key"
        )
        self.log[partition].append(said)
        if now is not None:
            due, waiting = self.live.get(phone(user), (now + self.window_seconds + self.rng.random() / 2, {}))
            self.live[phone(user)] = due, {**waiting, **values}

    def deliver_live(self, now: float) -> None:
        for user, (due, values) in list(self.live.items()):
            if due <= now:
                del self.live[user]
                self.apply(user, {name: value for name, value in values.items() if not self.refuses(value)})

    def apply(self, user: str, values: Mapping[str, object]) -> None:
        """The destination sets these values.

        With a window of a second or more, nobody sees an older one after a newer one.
        """
        held, excused = self.held[user], self.trouble or self.window_seconds < 1
        for name, value in values.items():
            assert excused or value >= held.get(name, 0), (user, name, value, held[name])  # type: ignore[operator]  # all are numbers
        held.update(values)

    def ends(self) -> dict[Partition, int]:
        return {partition: len(said) for partition, said in self.log.items()}

    def last(self) -> dict[tuple[str, str], tuple[Said, object]]:
        return {
            (str(said.user.phone), name): (said, value)
            for records in self.log.values()
            for said in records
            for name, value in said.values.items()
        }


class Job:
    """One process of a replay. It can be killed, and another one goes on from its progress."""

    def __init__(self, world: World, scope: Scope, progress: Progress, max_bytes: int, started: float) -> None:
        self.world, self.scope, quiet = world, scope, world.window_seconds + 1.0
        self.driver = Driver(requests_per_second=20.0, concurrency=8, search_yields=True, window_seconds=quiet)
        self.driver.advance(started - self.driver.now.mono)
        self.replay = Replay(self.driver.engine, scope, progress, max_bytes, ahead=8, quiet_seconds=quiet)
        self.positions: dict[Partition, int] = {}
        self.reads_at = 0.0
        self.in_flight: list[tuple[float, float, Call, Reply]] = []

    @property
    def now(self) -> float:
        return self.driver.now.mono

    def turn(self) -> None:
        rng, now, replay = self.world.rng, self.driver.now, self.replay
        if replay.reread():
            self.positions = {partition: offsets.start for partition, offsets in self.scope.offsets.items()}
        if self.positions and now.mono >= self.reads_at:
            self.reads_at = now.mono + (rng.random() * 5.0 if rng.random() < 0.1 else 0.0)  # it reads slowly at times
            for partition, records in self.world.log.items():
                upto = min(len(records), self.positions[partition] + rng.randint(0, 20))
                replay.receive([copy(said) for said in records[self.positions[partition] : upto]], now)
                self.positions[partition] = upto
            replay.read(self.positions)
        if replay.wants_ends and rng.random() < 0.7:
            replay.ends(self.world.ends(), now.mono)
        self._answer(now)
        self.driver.post()
        replay.step(now)
        replay.kept(replay.progress)
        if replay.may_call(now):
            for call in self.driver.calls(8 - len(self.in_flight)):
                self.world.called(call, now.mono)
                applied = now.mono + rng.random() * 0.3
                self.in_flight.append((applied, applied + rng.random() * 0.1, call, self.world.answer(call)))

    def _answer(self, now: Now) -> None:
        for applied, ended, call, reply in list(self.in_flight):
            if applied <= now.mono and reply.status == 200:
                self.world.apply(str(call.user.phone), call.properties)
                self.in_flight.remove((applied, ended, call, reply))
                self.in_flight.append((float("inf"), ended, call, reply))
            if ended <= now.mono:
                self.in_flight = [flight for flight in self.in_flight if flight[2] is not call]
                self.driver.reply(call, reply)


def a_range(world: World) -> Scope:
    """Somewhere in the middle of the log. What lies behind it is delivered."""
    rng, ends = world.rng, world.ends()
    scope = Scope({each: Offsets(rng.randint(0, ends[each]), ends[each] - rng.randint(0, 20)) for each in PARTITIONS})
    scope = Scope({each: Offsets(of.start, max(of.start, of.stop)) for each, of in scope.offsets.items()})
    for said in (said for each, records in world.log.items() for said in records[scope.offsets[each].stop :]):
        world.held[str(said.user.phone)].update(said.values)
    return scope


def run(
    seed: int,
    *,
    choose: Callable[[World], Scope] = a_range,
    max_bytes: int = 10_000_000,
    kills: int = 0,
    trouble: bool = False,
) -> tuple[World, Scope, list[Job]]:
    """Replays a part of a log, beside live traffic, until it is done and all is delivered."""
    rng = random.Random(seed)
    world = World(rng, window_seconds=rng.choice([0.0, 0.1, 2.0]), trouble=trouble)
    users = rng.randint(5, 100)
    for _ in range(100):
        world.append(rng.randrange(users))
    scope = choose(world)
    jobs = [Job(world, scope, Progress(), max_bytes, 2_000.0)]
    for turn in range(4_000):
        job = jobs[-1]
        for _ in range(rng.randint(0, 4) if turn < 200 else 0):
            world.append(rng.randrange(users), job.now)
        world.deliver_live(job.now)
        job.turn()
        if kills and rng.random() < 0.03 and job.replay.phase is not Phase.DONE:
            kills -= 1
            for _, _, call, reply in job.in_flight:  # it may have been applied
                taken = reply.status == 200 and rng.random() < 0.5
                world.held[str(call.user.phone)].update(call.properties if taken else {})
            jobs.append(Job(world, scope, job.replay.progress, max_bytes, job.now))
        jobs[-1].driver.advance(TURN_SECONDS)
        if jobs[-1].replay.phase is Phase.DONE and not world.live and turn >= 200:
            return world, scope, jobs
    raise AssertionError(f"seed {seed} did not end: {jobs[-1].replay.phase}, {jobs[-1].replay.progress}")


def check(world: World, scope: Scope) -> None:
    for (user, name), (said, value) in world.last().items():
        start = scope.offsets[said.partition].start
        if said.offset >= start and not world.refuses(value):
            assert world.held[user].get(name) == value, (user, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_value_of_the_log_stands_in_the_end(seed: int) -> None:
    world, scope, [job] = run(seed)
    check(world, scope)
    assert job.replay.tally.delivered <= job.replay.tally.calls  # a user waiting for its turn may be superseded


@pytest.mark.parametrize("seed", SEEDS)
def test_in_several_passes_if_memory_is_short_and_after_kills(seed: int) -> None:
    world, scope, jobs = run(seed, max_bytes=12_000, kills=4)
    check(world, scope)
    done = Job(world, scope, jobs[-1].replay.progress, 12_000, jobs[-1].now)
    assert done.replay.phase is Phase.DONE


def some_last_values(world: World) -> Scope:
    """A part of the last values is missing at the destination."""
    only: dict[tuple[Partition, int], set[str]] = defaultdict(set)
    for (user, name), (said, value) in world.last().items():
        if world.rng.random() < 0.3:
            only[said.partition, said.offset].add(name)
        else:
            world.held[user][name] = value
    return Scope({each: Offsets(0, end) for each, end in world.ends().items()}, only=only)


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_single_values_are_sent_and_no_others(seed: int) -> None:
    world, scope, _ = run(seed, choose=some_last_values)
    check(world, scope)
    assert scope.only is not None
    chosen = {
        (str(world.log[partition][offset].user.phone), name)
        for (partition, offset), names in scope.only.items()
        for name in names
    }
    sent = {(str(call.user.phone), name) for call in world.calls for name in call.properties}
    assert sent <= chosen


@pytest.mark.parametrize("seed", SEEDS)
def test_amid_refusals_and_failures(seed: int) -> None:
    """A refused value becomes a dead letter, as in the live worker, and the user counts as delivered."""
    world, scope, jobs = run(seed, kills=2, trouble=True)
    check(world, scope)
    refused = {attribute.value for job in jobs for letter in job.driver.written for attribute in letter.attributes}
    assert all(map(world.refuses, refused)), refused
    last = jobs[-1]
    assert not last.driver.engine.open_entries
    assert not last.driver.engine.letters_waiting


@pytest.mark.parametrize("seed", SEEDS)
def test_no_older_value_is_seen_after_a_newer_one_while_users_change_just_before_their_window_ends(seed: int) -> None:
    """So live workers send a change that is a moment old: a replay that has not read it yet must not call now."""
    rng = random.Random(seed)
    world, users = World(rng, window_seconds=1.0), range(60)
    for user in (*users, *users, *users):
        world.append(user)
    scope = Scope({each: Offsets(0, end) for each, end in world.ends().items()})
    job = Job(world, scope, Progress(), 10_000_000, 2_000.0)
    again: list[tuple[float, int]] = []
    for turn in range(4_000):
        if turn < 200 and rng.random() < 0.3:
            user = rng.choice(users)
            world.append(user, job.now)
            again.append((job.now + rng.uniform(0.5, 0.98), user))
        for due, user in [each for each in again if each[0] <= job.now]:
            again.remove((due, user))
            world.append(user, job.now)
        world.deliver_live(job.now)
        job.turn()
        job.driver.advance(TURN_SECONDS)
        if job.replay.phase is Phase.DONE and not world.live and turn >= 200:
            break
    check(world, scope)
    assert job.replay.phase is Phase.DONE


def test_a_user_who_changes_during_its_call_and_again_behind_it_gets_the_newest_value() -> None:
    """Its call may land behind one that live workers make for both changes."""
    driver, partition = Driver(window_seconds=1.0), PARTITIONS[0]
    scope = Scope({partition: Offsets(0, 1)})
    replay = Replay(driver.engine, scope, Progress(), 10_000_000, ahead=8, quiet_seconds=1.0)

    def goes_on(end: int) -> list[Call]:
        replay.read({partition: end})
        replay.ends({partition: end}, driver.now.mono)
        replay.step(driver.now)
        replay.kept(replay.progress)
        replay.step(driver.now)
        return driver.calls(8)

    def read(offset: int, tier: str) -> list[Call]:
        said = Said(key(1), User(phone(1)), {"tier": tier}, partition, offset, STARTED.wall_ms - 10_000, b"key")
        replay.receive([said], driver.now)
        return goes_on(offset + 1)

    [call] = read(0, "bronze")
    assert read(1, "silver") == []
    driver.reply(call, Reply(200))
    assert read(2, "silver") == []
    driver.advance(2.0)
    [call] = goes_on(3)
    assert call.properties == {"tier": "silver"}
    driver.reply(call, Reply(200))
    assert goes_on(3) == []
    assert replay.phase is Phase.DONE
