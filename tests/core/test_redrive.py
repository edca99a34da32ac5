"""A redrive beside live traffic, in virtual time: what letters hold is delivered where it is still the last word."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from tests.core.drive import Driver, phone
from tests.core.test_replay import PARTITIONS, TURN_SECONDS, World, key
from tests.support.marks import slow_after
from worker.core.letters.datum import letter_id
from worker.core.letters.folding import DELIVERED, OPEN, REFUSED_AGAIN, SUPERSEDED, Folding, Place
from worker.core.model import LOSSES, Call, Letter, LostAttribute, Now, Partition, Reason, Reply, Scalar, Source, User
from worker.core.replay.errand import Errand, Part
from worker.core.replay.redrive import Redrive
from worker.core.replay.replay import Phase
from worker.core.replay.said import Said

SEEDS = slow_after(10, range(100))
AMPLE_BYTES = 10_000_000
SMALL_BYTES = 12_000


@dataclass
class Topic:
    """The dead-letter topic."""

    records: list[Letter] = field(default_factory=list)

    def append(self, letter: Letter) -> None:
        self.records.append(letter if letter.id else replace(letter, id=letter_id(letter)))

    def fold(self) -> tuple[Folding, list[Letter]]:
        """The folding, and the record that stands for each letter."""
        folding = Folding()
        places = [(letter, Place(0, offset)) for offset, letter in enumerate(self.records)]
        for letter, place in places:
            folding.take(letter, place)
        return folding, [letter for letter, place in places if folding.stands(letter, place)]

    def open(self) -> list[Letter]:
        """Those that are to be delivered."""
        folding, letters = self.fold()
        return [letter for letter in letters if folding.state(letter.id) == OPEN]


def lacked(value: object) -> bool:
    """Whether the destination refused this value before its enumeration was extended."""
    return isinstance(value, int) and (value % 13 == 0 or value % 3 == 0)


def append(world: World, user: int, offset: int, values: Mapping[str, Scalar]) -> None:
    """A record of the first partition."""
    world.log[PARTITIONS[0]].append(Said(key(user), User(phone(user)), values, PARTITIONS[0], offset, 0, b"key"))


def letters_of(said: Said, *, together: bool) -> list[Letter]:
    """The letters of a record whose values were refused: one with all of them, or one of each."""
    source = Source(said.partition, said.offset, said.timestamp_ms)
    lost = [LostAttribute(name, value, None, source.partition, source.offset) for name, value in said.values.items()]
    bare = Letter(Reason.REJECTED, "refused", 0, 1, (source,), said.user, (), record_key=b"key")
    return [replace(bare, attributes=each) for each in ([tuple(lost)] if together else [(one,) for one in lost])]


def errand_of(letter: Letter) -> Errand:
    assert letter.user is not None
    parts = [Part(lost, lost.value, Source(lost.partition, lost.offset, 0)) for lost in letter.attributes]  # type: ignore[arg-type]  # all are numbers
    return Errand(letter, letter.user, parts)


class Job:
    """One process of a redrive."""

    def __init__(self, world: World, topic: Topic, max_bytes: int, started: float, *, dry: bool = False) -> None:
        self.world, self.topic = world, topic
        self.driver = Driver(requests_per_second=20.0, concurrency=8, search_yields=True, storms=False)
        self.driver.advance(started - self.driver.now.mono)
        self.redrive = Redrive(self.driver.engine, max_bytes, concurrency=8, quiet_seconds=2.0, dry=dry)
        self.letters = topic.open()
        self.folding = topic.fold()[0]
        self.positions: dict[Partition, int] = {}
        self.reads_at = 0.0
        self.in_flight: list[tuple[float, float, Call, Reply]] = []
        self.mail: list[tuple[float, Letter]] = []
        self.calls = 0
        self.passes = 0

    @property
    def now(self) -> float:
        return self.driver.now.mono

    def turn(self) -> None:
        rng, now, redrive = self.world.rng, self.driver.now, self.redrive
        if redrive.refill():
            self.passes += 1
            for letter in self.letters:
                errand = errand_of(letter)
                errand.doubtful = self.folding.is_doubtful(letter.id)
                redrive.expect(key(_number(letter)), errand)
            redrive.filled()
        if redrive.reread():
            self.positions = {each: redrive.addressees.begins.get(each, 0) for each in PARTITIONS}
        self._read(now)
        if redrive.wants_ends and rng.random() < 0.7:
            redrive.ends(self.world.ends(), now.mono)
        self._answer(now)
        self._post(now)
        redrive.step(now)
        if redrive.may_call(now):
            for call in self.driver.calls(8 - len(self.in_flight)):
                self.calls += 1
                self.world.called(call, now.mono)
                applied = now.mono + rng.random() * 0.3
                self.in_flight.append((applied, applied + rng.random() * 0.1, call, self.world.answer(call)))

    def _read(self, now: Now) -> None:
        if now.mono < self.reads_at:
            return
        rng = self.world.rng
        self.reads_at = now.mono + (rng.random() * 5.0 if rng.random() < 0.1 else 0.0)  # it reads slowly at times
        for partition, records in self.world.log.items() if self.positions else ():
            upto = min(len(records), self.positions[partition] + rng.randint(0, 20))
            self.redrive.receive(records[self.positions[partition] : upto], now)
            self.positions[partition] = upto
        self.redrive.read(self.positions)

    def _answer(self, now: Now) -> None:
        for flight in list(self.in_flight):
            applied, ended, call, reply = flight
            if applied <= now.mono and reply.status == 200:
                self.world.held[str(call.user.phone)].update(call.properties)
            if ended <= now.mono:
                self.in_flight.remove(flight)
                self.driver.reply(call, reply)

    def _post(self, now: Now) -> None:
        rng, engine = self.world.rng, self.driver.engine
        for letter in engine.letters(now):
            rest = self.redrive.keep(letter)
            if rest is not None:
                self.topic.append(rest)
            engine.letter_written(letter, now)
        self.mail += [(now.mono + rng.random() * 0.2, letter) for letter in self.redrive.letters(now)]
        for sent in [each for each in self.mail if each[0] <= now.mono]:
            self.mail.remove(sent)
            if rng.random() < 0.1:
                self.redrive.failed(sent[1], now)
            else:
                self.topic.append(sent[1])
                self.redrive.written(sent[1], now)

    def kill(self) -> None:
        """What is on its way may arrive."""
        rng = self.world.rng
        for _, _, call, reply in self.in_flight:
            taken = reply.status == 200 and rng.random() < 0.5
            self.world.held[str(call.user.phone)].update(call.properties if taken else {})
        for _, letter in self.mail:
            if rng.random() < 0.5:
                self.topic.append(letter)


def _number(letter: Letter) -> int:
    assert letter.user is not None
    return int(str(letter.user.phone)[5:])


def world_with_letters(seed: int, *, trouble: bool) -> tuple[World, Topic, int]:
    """A log of which some values were refused: the destination holds the last ones that it took."""
    rng = random.Random(seed)
    world = World(rng, window_seconds=rng.choice([0.0, 0.1, 2.0]), trouble=trouble)
    topic, users = Topic(), rng.randint(5, 60)
    for _ in range(120):
        world.append(rng.randrange(users))
    for said in (said for records in world.log.values() for said in records):
        if lacked(next(iter(said.values.values()))):
            for letter in letters_of(said, together=rng.random() < 0.5):
                topic.append(letter)
                if rng.random() < 0.1:
                    topic.append(letter)  # written twice
        else:
            world.held[str(said.user.phone)].update(said.values)
    return world, topic, users


def run(
    seed: int, *, max_bytes: int = AMPLE_BYTES, kills: int = 0, trouble: bool = False
) -> tuple[World, Topic, list[Job]]:
    world, topic, users = world_with_letters(seed, trouble=trouble)
    rng = world.rng
    jobs = [Job(world, topic, max_bytes, 2_000.0)]
    for turn in range(4_000):
        job = jobs[-1]
        for _ in range(rng.randint(0, 3) if turn < 100 else 0):
            world.append(rng.randrange(users), job.now)
        world.deliver_live(job.now)
        job.turn()
        if kills and rng.random() < 0.03 and job.redrive.phase is not Phase.DONE:
            kills -= 1
            job.kill()
            jobs.append(Job(world, topic, max_bytes, job.now))
        jobs[-1].driver.advance(TURN_SECONDS)
        if jobs[-1].redrive.phase is Phase.DONE and not world.live and turn >= 100:
            return world, topic, jobs
    raise AssertionError(f"seed {seed} did not end: {jobs[-1].redrive.phase}, {jobs[-1].redrive.outcomes}")


def later(world: World, lost: LostAttribute, user: str) -> bool:
    """Whether the log has a later change of it."""
    records = world.log[lost.partition][lost.offset + 1 :]
    return any(str(said.user.phone) == user and lost.name in said.values for said in records)


def check(world: World, topic: Topic, runs: int) -> None:
    for (user, name), (_, value) in world.last().items():
        if not world.refuses(value):
            assert world.held[user].get(name) == value, (user, name)
    folding, letters = topic.fold()
    for letter in letters:
        state, user = folding.state(letter.id), str(letter.user.phone)  # type: ignore[union-attr]  # each has a user
        last = [lost for lost in letter.attributes if not later(world, lost, user)]
        assert state in {OPEN, DELIVERED, SUPERSEDED}, state  # refused again: a newer attempt is open
        if state == SUPERSEDED:
            assert not last
        if state == DELIVERED:
            assert not any(world.refuses(lost.value) for lost in last)
        if state == OPEN and letter.attempts > 1:
            assert all(world.refuses(lost.value) for lost in letter.attributes)
            first = min(each.attempts for each in topic.records if each.id == letter.id)  # the calls of a newer value
            assert letter.attempts <= first + runs
    assert {detail for each in topic.records if (detail := each.detail) and each.reason is Reason.RESOLVED} <= {
        DELIVERED,
        SUPERSEDED,
        REFUSED_AGAIN,
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_letters_are_delivered_where_they_are_the_last_word(seed: int) -> None:
    world, topic, [job] = run(seed)
    check(world, topic, 1)
    assert topic.open() == []
    assert job.redrive.ended == len(job.letters)
    assert job.redrive.outcomes[REFUSED_AGAIN] == 0
    again = finish(world, topic)
    assert again.calls == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_amid_refusals_failures_kills_and_in_several_passes(seed: int) -> None:
    world, topic, jobs = run(seed, max_bytes=SMALL_BYTES, kills=3, trouble=True)
    check(world, topic, len(jobs))
    assert jobs[-1].passes > 1 or len(jobs[-1].letters) < 10
    originals = {letter.id for letter in jobs[0].letters}
    for letter in topic.open():
        refused_again = letter.attempts > 1 and letter.id in originals
        assert refused_again or letter.id not in originals, "a letter was forgotten"
    again = [each for each in topic.records if each.attempts > 1 and each.reason in LOSSES]
    written = Counter((each.id, each.attempts) for each in again if each.id in originals)
    assert max(written.values(), default=1) == 1  # once a run


def finish(world: World, topic: Topic, *, dry: bool = False, max_bytes: int = AMPLE_BYTES) -> Job:
    """A further run, with no more traffic."""
    job = Job(world, topic, max_bytes, 3_000.0, dry=dry)
    while job.redrive.phase is not Phase.DONE:
        job.turn()
        job.driver.advance(TURN_SECONDS)
    return job


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dry_run_says_what_the_real_one_does(seed: int) -> None:
    world, topic, _ = world_with_letters(seed, trouble=False)
    before = list(topic.records)
    dry = finish(world, topic, dry=True)
    assert (dry.calls, topic.records) == (0, before)
    real = finish(world, topic)
    assert real.redrive.outcomes == dry.redrive.outcomes
    assert real.calls == dry.redrive.calls == dry.redrive.outcomes[DELIVERED]
    assert dry.redrive.outcomes[SUPERSEDED] > 0


def log_of_one_user(*values: dict[str, int], trouble: bool = False) -> tuple[World, Topic]:
    """A user whose every record was refused: one letter a record."""
    world, topic = World(random.Random(1), trouble=trouble), Topic()
    for offset, said in enumerate(values):
        append(world, 1, offset, said)
        topic.append(letters_of(world.log[PARTITIONS[0]][-1], together=True)[0])
    return world, topic


def test_letters_of_one_user_go_one_after_the_other_in_the_order_of_the_log() -> None:
    """The record that ends the first one is acknowledged before the second is sent."""
    world, topic = log_of_one_user({"tier": 1}, {"store": 2})
    topic.records.reverse()
    job = Job(world, topic, AMPLE_BYTES, 2_000.0)
    sent: list[tuple[list[str], int]] = []
    while job.redrive.phase is not Phase.DONE:
        before = len(job.driver.sent)
        job.turn()
        sent += [(list(call.properties), len(topic.records) - 2) for call in job.driver.sent[before:]]
        job.driver.advance(TURN_SECONDS)
    assert sent == [(["tier"], 1), (["store"], 3)]  # records that mark letters, and one that ends the first


def test_after_a_kill_amid_a_call_that_came_after_a_newer_value_that_one_is_sent() -> None:
    world, topic = log_of_one_user({"tier": 1})
    killed = Job(world, topic, AMPLE_BYTES, 2_000.0)
    while not killed.calls:
        killed.turn()
        killed.driver.advance(TURN_SECONDS)
    append(world, 1, 1, {"tier": 2})
    world.apply(phone(1), {"tier": 2})  # by a live worker
    world.held[phone(1)]["tier"] = 1  # then by the job's call, and no process takes in the reply
    dry = finish(world, topic, dry=True)
    assert (dry.redrive.outcomes, dry.redrive.calls) == ({SUPERSEDED: 1}, 1)
    job = finish(world, topic)
    assert (job.redrive.outcomes, job.calls) == ({SUPERSEDED: 1}, 1)
    assert world.held[phone(1)] == {"tier": 2}
    assert topic.open() == []


def test_what_is_refused_again_is_one_letter_however_many_of_its_attributes_are() -> None:
    world, topic = log_of_one_user({"tier": 13, "store": 26, "points": 4}, trouble=True)
    job = finish(world, topic)
    assert job.redrive.outcomes == {REFUSED_AGAIN: 1}
    first, mark, again, end = topic.records
    assert (mark.id, mark.attempts, mark.reason, mark.user, mark.attributes) == (first.id, 1, Reason.BEGUN, None, ())
    assert (again.id, again.attempts) == (first.id, 2)
    assert [lost.name for lost in again.attributes] == ["tier", "store"]
    assert (end.id, end.attempts, end.detail) == (first.id, 1, REFUSED_AGAIN)
    assert topic.open() == [again]
    assert world.held[phone(1)] == {"points": 4}


def test_letters_that_are_all_refused_again_are_no_storm() -> None:
    world, topic = log_of_one_user(*({"tier": 13 * number} for number in range(1, 4)), trouble=True)
    for user in range(2, 202):
        append(world, user, user + 1, {"tier": 13})
        topic.append(letters_of(world.log[PARTITIONS[0]][-1], together=True)[0])
    job = finish(world, topic)
    assert job.redrive.outcomes == {REFUSED_AGAIN: 201, SUPERSEDED: 2}
    assert len(topic.open()) == 201


def test_a_user_larger_than_the_memory_is_done_all_the_same() -> None:
    world, topic = log_of_one_user({"tier": 1}, {"store": 2}, {"points": 3})
    assert finish(world, topic, max_bytes=10).redrive.outcomes == {DELIVERED: 3}


def test_a_stop_begins_no_further_letter() -> None:
    world, topic = log_of_one_user({"tier": 1}, {"store": 2})
    job = Job(world, topic, AMPLE_BYTES, 2_000.0)
    while not job.calls:
        job.turn()
        job.driver.advance(TURN_SECONDS)
    job.redrive.stop()
    for _ in range(40):
        job.turn()
        job.driver.advance(TURN_SECONDS)
    assert (job.redrive.outcomes, job.redrive.begun, job.redrive.under_way) == ({DELIVERED: 1}, 0, False)
    assert (job.redrive.phase, job.calls) == (Phase.SENDING, 1)


def test_a_newer_value_that_comes_after_a_stop_is_sent_last() -> None:
    world, topic = log_of_one_user({"tier": 1})
    job = Job(world, topic, AMPLE_BYTES, 2_000.0)
    while not job.calls:
        job.turn()
        job.driver.advance(TURN_SECONDS)
    job.redrive.stop()
    append(world, 1, 1, {"tier": 5, "store": 6})
    while job.redrive.phase is not Phase.DONE:
        job.turn()
        job.driver.advance(TURN_SECONDS)
    assert [dict(call.properties) for call in job.driver.sent] == [{"tier": 1}, {"tier": 5}]
    assert job.redrive.outcomes == {SUPERSEDED: 1}
