"""Models of what a replay's process has beside a worker's ports: a range of the log, where it ends, and its notes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Self

from tests.simulation.promises import PromiseBroken
from tests.simulation.senders import Senders
from worker.core.model import Call, Partition, Record, Reply
from worker.kafka.notebook import NOTE_BYTES_MAX, Note

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.job import Job
    from tests.simulation.replays import Replays


_RECORDS = 50  # of one poll, at least: a replay has a long way to read


class LogRange:
    """Has the interface of `worker.kafka.range.Range`, for a range without an end."""

    problem: str | None = None

    def __init__(self, replays: Replays, job: Job, starts: Mapping[Partition, int]) -> None:
        self.positions = dict(starts)
        self._paused: set[Partition] = set()
        self._replays = replays
        self._job = job

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: it holds nothing open."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """Nothing of these is read any more."""
        self._paused.update(partitions)

    def poll(self, _: float) -> list[Record]:
        """The next records; a few, or none while reading is slow."""
        self._job.moment()
        cluster = self._replays.cluster
        records: list[Record] = []
        room = max(_RECORDS, cluster.plan.poll_records)
        for partition, position in self.positions.items():
            if partition in self._paused:
                continue
            log = cluster.logs[partition.number]
            if self._replays.on("job_reads_slowly") and cluster.rng.random() < 0.98:
                continue
            first = log.index(position)
            taken = log.records[first : first + room - len(records)]
            records += taken
            whole = first + len(taken) == len(log.records)
            self.positions[partition] = max(position, log.end if whole else taken[-1].offset + 1 if taken else position)
        return records


class Ends:
    """Has the interface of `worker.kafka.bounds.Ends`. What it answers was so at some instant since it was asked."""

    problem: str | None = None

    def __init__(self, replays: Replays) -> None:
        self._replays = replays
        self._asked: tuple[float, float] | None = None  # when it was asked, and when the answer comes
        self._ends: Mapping[Partition, int] = {}

    def ask(self, now: float) -> None:
        """Asks, unless an answer is still to come."""
        if self._asked is not None:
            return
        cluster = self._replays.cluster
        slow = self._replays.on("ends_come_late")
        seconds = cluster.rng.uniform(0.1, 3.0) if slow else cluster.rng.uniform(0.005, 0.05)
        self._asked = now, now + seconds
        cluster.timeline.after(seconds * cluster.rng.choice((0.0, 0.0, 0.5, 1.0)), self._look)

    def answer(self) -> tuple[Mapping[Partition, int], float] | None:
        """The ends, and when they were asked for. None if they are not there; now and then there was an error."""
        cluster = self._replays.cluster
        if self._asked is None or cluster.timeline.now < self._asked[1]:
            return None
        (asked_at, _), self._asked = self._asked, None
        if self._replays.on("ends_come_late") and cluster.rng.random() < 0.2:
            return None
        return self._ends, asked_at

    def _look(self, _: object) -> None:
        self._ends = {log.partition: log.end for log in self._replays.cluster.logs}


class Notebook:
    """Has the interface of `worker.kafka.notebook.Notebook`. The notes outlive the process."""

    def __init__(self, replays: Replays, job: Job) -> None:
        self.under_way = False
        self.problem: str | None = None
        self._replays = replays
        self._job = job

    def write(self, notes: Mapping[Partition, Note]) -> None:
        """Writes notes. Under faults that takes seconds, or it fails; one in two that failed was written all the same.

        Raises:
            PromiseBroken: A write is under way, or a note is too long.
        """
        if self.under_way:
            raise PromiseBroken("notes", f"{self._job} writes a note before the one before it has ended")
        if any(len(note.text.encode()) > NOTE_BYTES_MAX for note in notes.values()):
            raise PromiseBroken("bounded", f"{self._job} writes a note of more than {NOTE_BYTES_MAX} bytes")
        self.under_way = True
        cluster = self._replays.cluster
        fails = self._replays.on("notes_fail") and cluster.rng.random() < 0.5
        seconds = cluster.rng.uniform(0.2, 4.0) if self._replays.on("notes_slow") else cluster.rng.uniform(0.002, 0.02)
        if not fails or cluster.rng.random() < 0.5:
            cluster.timeline.after(seconds, self._arrived, notes)
        cluster.timeline.after(seconds + 0.002, self._answered, fails)

    def _arrived(self, notes: Mapping[Partition, Note]) -> None:
        if self._job.alive:
            self._replays.notes.update(notes)

    def _answered(self, fails: bool) -> None:  # noqa: FBT001 - what the timeline passes on
        self.under_way = False
        self.problem = "progress cannot be written" if fails else None
        self._job.wake()


class JobSenders(Senders):
    """The senders of a job: no request is written long after it was submitted."""

    def __init__(self, cluster: Cluster, job: Job, concurrency: int) -> None:
        super().__init__(cluster, job, lambda: True, concurrency)
        self._job = job

    def replies(self, _: float = 0.0) -> list[tuple[Call, Reply]]:
        """The calls that ended since the last call of this."""
        self._job.moment()
        flights = dict(self._flights)
        ended = super().replies()
        for call, reply in ended:
            self._job.watch.replied(flights[call], reply)
        return ended

    def _write_until(self) -> float:
        return self._job.write_by
