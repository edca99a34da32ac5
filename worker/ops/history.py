"""The last half hour in equal steps, for the status page's charts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from worker.clocks import boot_clock
from worker.ops.status import Status

STEP_SECONDS: Final = 15
STEPS: Final = 120
_LAST_MINUTE: Final = slice(-1 - 60 // STEP_SECONDS, -1)  # the step under way is not over


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step, and the worst of how things stood.

    Attributes:
        number: counts steps since the machine started.
        calls: requests that ended, by what became of them.
        records: records read.
        oldest_seconds: age of the oldest undelivered change; None without a partition.
        held_bytes: memory taken by what is not settled.
    """

    number: int
    calls: Mapping[str, int]
    records: int
    oldest_seconds: float | None
    held_bytes: int


@dataclass(frozen=True, slots=True)
class LastMinute:
    """What happened in the last whole steps, a minute in all or less if there is less."""

    seconds: int
    records: int
    calls: Mapping[str, int]


class History:
    """Looks at each status that the main thread publishes. Any thread may read the steps, without a lock.

    Its memory is bounded: `STEPS` steps of a few numbers.
    """

    def __init__(self, start: Status, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock  # counts while the machine is suspended, so that this shows as a gap
        self._over: deque[Step] = deque(maxlen=STEPS - 1)
        self._begun = self._seen = start
        # What other threads read: one reference, replaced as a whole.
        self._steps: tuple[Step, ...] = ()
        self._under_way: Step | None = None

    def look(self, status: Status) -> None:
        """Adds what a new status says to the step under way."""
        number, before = int(self._clock() // STEP_SECONDS), self._under_way
        if before is not None and before.number != number:
            self._over.append(before)
            self._begun, before = self._seen, None
        self._seen = status
        self._under_way = _step(number, before, self._begun, status)
        self._steps = (*self._over, self._under_way)

    def steps(self) -> tuple[Step | None, ...]:
        """The last `STEPS` steps, the oldest first, the last one under way. None where nobody looked."""
        by_number = {step.number: step for step in self._steps}
        last = int(self._clock() // STEP_SECONDS)
        return tuple(by_number.get(number) for number in range(last - STEPS + 1, last + 1))

    def last_minute(self) -> LastMinute:
        """The sum of the last minute's steps."""
        found = [step for step in self.steps()[_LAST_MINUTE] if step is not None]
        calls: Counter[str] = Counter()
        for step in found:
            calls.update(step.calls)
        return LastMinute(len(found) * STEP_SECONDS, sum(step.records for step in found), dict(calls))


def _step(number: int, before: Step | None, begun: Status, status: Status) -> Step:
    """The step so far: `before` is what it was a moment ago, `begun` the last status of the steps before it."""
    calls = {outcome: ended - begun.calls_ended.get(outcome, 0) for outcome, ended in status.calls_ended.items()}
    oldest, held = status.oldest_undelivered_seconds, status.held_bytes
    if before is not None:
        held = max(held, before.held_bytes)
        if before.oldest_seconds is not None:
            oldest = before.oldest_seconds if oldest is None else max(oldest, before.oldest_seconds)
    return Step(number, calls, status.totals.records - begun.totals.records, oldest, held)
