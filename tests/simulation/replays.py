"""The replay of a plan: its processes, one after the other, and what they have written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.job import Job
from tests.simulation.plan import NUMBERS, QUIET, Fault, Wish
from tests.simulation.promises import PromiseBroken
from tests.simulation.replay_check import ReplayCheck
from worker.core.delivery.gate import HaltReason
from worker.core.model import Partition
from worker.jobs.begin import Beginning, decide, wanted
from worker.jobs.diary import begun_of
from worker.jobs.spans import Reach
from worker.kafka.notebook import Note

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

PATIENCE_SECONDS = 120.0
_ALIKE = "the same filters"


class Replays:
    """Starts the job, again after each kill and stop, until it is done."""

    def __init__(self, cluster: Cluster, wish: Wish) -> None:
        self.cluster = cluster
        self.wish = wish
        self.notes: dict[Partition, Note] = {}
        self.check = ReplayCheck(cluster.plan, cluster.logs, cluster.oracle, cluster.attentive)
        self.job: Job | None = None
        self.faults: list[Fault] = []
        self.over = False
        self._lives = 0
        self._may_begin_anew = True

    def on(self, kind: str) -> bool:
        """Whether a fault of this kind is on."""
        return any(fault.kind == kind for fault in self.faults)

    def start(self, _: object = None) -> None:
        """A process starts, and finds out what is left to do."""
        cluster = self.cluster
        if self.on("notes_fail") and cluster.rng.random() < 0.3:
            cluster.timeline.after(1.0, self.start)
            return
        how, begun = decide(begun_of(self.notes), wanted(self._reaches(), _ALIKE), restart=False)
        self._lives += 1
        cluster.add_to_trace(f"replay.{self._lives}", "starts", how.name)
        if how is Beginning.FINISHED:
            self.over = True
            return
        self.job = Job(self, begun, self._lives, anew=how is Beginning.ANEW)
        self.job.wake_at(cluster.timeline.now + 0.1)

    def ended(self, job: Job, *, done: bool) -> None:
        """A process has ended by itself, or after a stop."""
        self.cluster.add_to_trace(job, "ends", "done" if done else "not done")
        self.job = None
        if not done:
            self._restart(job)
            return
        if job.engine.held_bytes:
            raise PromiseBroken("bounded", f"{job} counts {job.engine.held_bytes} bytes, but holds nothing")
        found = begun_of(self.notes)
        if found is None or not found.progress.done:
            raise PromiseBroken("notes", f"{job} is done, and its notes do not say so")
        self.check.over(job.scope)
        self.over = True

    def strike(self, fault: Fault, until: float) -> None:
        """A fault of the job begins."""
        self.faults.append(fault)
        self.cluster.timeline.at(until, lambda _: self.faults.remove(fault))
        job = self.job
        if job is None or job.frozen:
            return
        match fault.kind:
            case "job_killed":
                self.job = None
                job.kill()
                self._restart(job)
            case "job_frozen":
                job.freeze(until, amid_turn=fault.how == "amid")
            case "job_stopped":
                job.stop()

    def truncated(self, partition: int, start: int) -> None:
        """Retention deletes the records below `start`."""
        taken = 0 if self.job is None else self.job.taken().get(partition, 0)
        self.check.truncated(partition, taken, start)

    @property
    def settled(self) -> bool:
        """Whether it is done. It is stopped where it can wait for ever: for users that always fail, or for credit."""
        if self.over:
            return True
        job, now = self.job, self.cluster.timeline.now
        if job is not None and now > QUIET + PATIENCE_SECONDS and self._waits_in_vain(job):
            job.kill()
            self.over = True
        return self.over

    def _waits_in_vain(self, job: Job) -> bool:
        halt, oracle = job.engine.halt, self.cluster.oracle
        open_users = [NUMBERS[entry.user] for entry in job.engine._window.entries()]  # private: nothing else lists them
        hopeless = bool(open_users) and all(map(oracle.is_hopeless, open_users))
        return hopeless or (halt is not None and halt.reason is HaltReason.REJECTION_STORM)

    def _restart(self, job: Job) -> None:
        self.check.killed(job, self.wish.concurrency)
        self.cluster.timeline.after(self.cluster.rng.uniform(2.2, 5.0), self.start)

    def _reaches(self) -> dict[Partition, Reach]:
        reaches = {}
        for log, (begin, end) in zip(self.cluster.logs, self.wish.parts, strict=True):
            start = log.start + round(begin * (log.end - log.start))
            reaches[log.partition] = Reach(start, start + round(end * (log.end - start)), log.start)
        return reaches
