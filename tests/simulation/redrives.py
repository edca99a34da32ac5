"""The redrives of a plan: their processes, one after the other, over the letters that the cluster has written.

Real are `RedriveJob`, `Redrive`, `Letters`, `Errands`, `Sources`, `LiveWorkers`, `Mail`, the folding of the topic, and
all that a replay's process has as well. Models are the reading of the topic, and the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from tests.simulation.job import Job
from tests.simulation.parts import DeadLetters, Token
from tests.simulation.plan import QUIET, Wish
from tests.simulation.promises import PromiseBroken
from tests.simulation.redrive_check import RedriveCheck
from tests.simulation.replay_ports import Ends
from tests.simulation.replays import Replays
from worker.core.letters.folding import Folding, Place
from worker.core.model import Letter, Partition
from worker.core.replay.redrive import Redrive
from worker.core.replay.scope import Scope
from worker.jobs.follower import Follower
from worker.jobs.letter_filter import LetterFilter
from worker.jobs.letters import Found, LetterBook
from worker.jobs.redrive.errands import Errands
from worker.jobs.redrive.job import RedriveJob
from worker.jobs.redrive.letters import Letters
from worker.jobs.redrive.live_workers import LiveWorkers
from worker.jobs.redrive.mail import Mail
from worker.jobs.redrive.sources import Reach, Sources
from worker.kafka import bounds
from worker.live.exchange import Exchange

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_RUNS_MAX = 6  # before the last one


class Redrives(Replays):
    """Starts redrives: again after each kill and stop, a few more times, and once more when all else is settled."""

    check: RedriveCheck

    def __init__(self, cluster: Cluster, wish: Wish) -> None:
        super().__init__(cluster, wish)
        self.check = RedriveCheck(cluster.plan, cluster.logs, cluster.oracle, cluster.attentive)
        self._idle = self._is_last = False

    def start(self, _: object = None) -> None:
        """A process starts."""
        self._lives += 1
        self.cluster.add_to_trace(f"redrive.{self._lives}", "starts", "")
        self.check.starts(self.cluster.letters)
        self.job = Redriving(self, self._lives)
        self.job.wake_at(self.cluster.timeline.now + 0.1)

    def ended(self, job: Job, *, done: bool) -> None:
        """A process has ended by itself, or after a stop."""
        cluster = self.cluster
        cluster.add_to_trace(job, "ends", "done" if done else "not done")
        self.job = None
        if not done:
            self._restart(job)
            return
        if job.engine.held_bytes:
            raise PromiseBroken("bounded", f"{job} counts {job.engine.held_bytes} bytes, but holds nothing")
        self.check.killed(job, self.wish.concurrency)
        if self._is_last:
            self.check.ends(self.cluster.letters)
            self.over = True
        elif self._lives < _RUNS_MAX and cluster.timeline.now < QUIET - 10.0:
            cluster.timeline.after(cluster.rng.uniform(0.5, 10.0), self.start)
        else:
            self._idle = True

    @property
    def settled(self) -> bool:
        """Whether the last one is done. It is asked once all else is settled, and begins the last one."""
        if self._idle:
            self._idle, self._is_last = False, True
            self.start()
        return self.over


class Redriving(Job):
    """One process."""

    def __init__(self, redrives: Redrives, life: int) -> None:
        self._start(redrives, f"redrive.{life}")
        cluster, wish = self._cluster, redrives.wish
        clock = cluster.timeline.instant
        quiet = self._make_engine(cluster.plan.options, storms=False)
        self.redrive = Redrive(self.engine, wish.max_bytes, concurrency=wish.concurrency, quiet_seconds=quiet)
        mail = Mail(_JobLetters(cluster, self), self.redrive, clock)
        exchange = Exchange(
            self.engine,
            senders=self.senders,
            letters=mail,
            schemas=None,
            token=Token(),
            clock=clock,
            observer=self,
        )
        topic = cluster.logs[0].partition.topic
        sources = Sources([topic], {topic: len(cluster.logs)}, self._reach, self._at)
        live_workers = LiveWorkers(sources.subscribed, self._committed, lambda: self.stop_asked, self.pause)
        errands = Errands(cluster.preflight, sources, live_workers, None, force=False)
        book = cast("LetterBook", Book(cluster, self))
        self._redrive_job = RedriveJob(
            self.redrive,
            exchange,
            Letters(book, LetterFilter(), errands, sources),
            mail,
            open_follower=self._follow,
            still_the_same=lambda _: None,
            say=lambda _: None,
        )

    @property
    def write_by(self) -> float:
        """As `Job.write_by`."""
        return self.redrive.write_by

    @property
    def is_over(self) -> bool:
        """As `Job.is_over`."""
        return self._redrive_job.is_over

    def _take_turn(self) -> bool:
        return self._redrive_job.turn(lambda: self.stop_asked)

    def _follow(self, starts: Mapping[Partition, int]) -> Follower:
        return Follower(
            self.redrive,
            Scope({}),
            starts,
            open_reading=self._open,
            ends=cast("bounds.Ends", Ends(self._replays)),
            preflight=self._cluster.preflight,
            clock=self._cluster.timeline.instant,
        )

    def _committed(self) -> Mapping[Partition, int] | None:
        self.moment()
        if self._cluster.group.is_empty:
            return None
        return {self._cluster.logs[number].partition: at for number, at in self._cluster.group.committed.items()}

    def _reach(self, partitions: Iterable[Partition]) -> Mapping[Partition, Reach]:
        logs = self._cluster.logs
        return {each: Reach(logs[each.number].start, logs[each.number].end) for each in partitions}

    def _at(self, partitions: Iterable[Partition], since_ms: int) -> Mapping[Partition, int | None]:
        logs = self._cluster.logs
        return {
            each: next((record.offset for record in logs[each.number].records if record.timestamp_ms >= since_ms), None)
            for each in partitions
        }


class Book:
    """Has the interface of `worker.jobs.letters.LetterBook`, for the cluster's dead-letter topic."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
        self._cluster = cluster
        self._job = job

    def letters(self, _: Callable[[], bool]) -> Iterator[Found]:
        """Each letter once, as the topic is now."""
        self._job.moment()
        yield from standing(self._cluster.letters)


def standing(topic: Iterable[Letter]) -> list[Found]:
    """Each letter once."""
    places = [(letter, Place(0, offset)) for offset, letter in enumerate(topic)]
    folding = Folding()
    for letter, place in places:
        folding.take(letter, place)
    return [
        Found(letter, folding.state(letter.id), folding.is_doubtful(letter.id))
        for letter, place in places
        if folding.stands(letter, place)
    ]


class _JobLetters(DeadLetters):
    """As a worker's, without a bound on floods."""

    def publish(self, letter: Letter) -> None:
        """As `DeadLetters.publish`."""
        cluster, job = self._cluster, self._member
        cluster.add_to_trace(job, "letter", letter)
        job.watch.published(letter, job.reach(), cluster.timeline.now)
        cluster.publish(letter, job.watch.written, self._reported)
