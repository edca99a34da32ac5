"""What a job leaves for other threads to read: how far it is, and what became of its calls."""

from __future__ import annotations

import time
from collections import Counter
from enum import StrEnum

from worker.core.delivery.gate import HaltReason
from worker.core.facts import CallEnded, Fact, Halted, LetterWritten, Resumed
from worker.ops.outcomes import OUTCOMES


class JobState(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # something is left


class JobBoard:
    """One job's progress, and an observer of facts. One thread writes, any thread reads, without a lock.

    Example:
        >>> board = JobBoard("replay", "replay-1a2b3c4d")
        >>> board.advance("reading", 512, 20_000)
        >>> board.finish()

    Attributes:
        command: what runs.
        name: the job's. It is the user's choice, and there is one a process.
        stage: the present one. Empty before the first.
        progress: for each stage that began, how much is done, and of how much.
        calls_ended: requests that ended, by what became of them.
        dead_letters: those written, by reason.
        halt: why calls are held back, if they are.
        state: whether it runs.
        started: in Unix time, as is `ended`, which is None while it runs.
    """

    def __init__(self, command: str, name: str) -> None:
        self.command = command
        self.name = name
        self.stage = ""
        self.progress: dict[str, tuple[int, int]] = {}
        self.calls_ended: dict[str, int] = dict.fromkeys(OUTCOMES.values(), 0)
        self.dead_letters: Counter[str] = Counter()
        self.halt: HaltReason | None = None
        self.state = JobState.RUNNING
        self.started = time.time()
        self.ended: float | None = None

    def advance(self, stage: str, done: int, total: int) -> None:
        """So much of a stage is done."""
        self.progress = {**self.progress, stage: (done, total)}
        self.stage = stage

    def observe(self, fact: Fact) -> None:
        """Counts what `/metrics` tells of a job."""
        match fact:
            case CallEnded():
                self.calls_ended[OUTCOMES[fact.verdict]] += 1
            case LetterWritten():
                self.dead_letters[fact.reason] += 1
            case Halted():
                self.halt = fact.reason
            case Resumed():
                self.halt = None
            case _:
                pass

    def finish(self) -> None:
        """Nothing is left."""
        self._end(JobState.FINISHED)

    def stop(self) -> None:
        """It ends here. If it has not finished, something is left."""
        if self.state is JobState.RUNNING:
            self._end(JobState.STOPPED)

    def _end(self, state: JobState) -> None:
        self.state, self.ended = state, time.time()
