"""One run of a contender over a load, from its assignment to its last call."""

from __future__ import annotations

import bisect
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Bench, Contender, NotMeasured, Running, Work
from bench.figures import Figure, cpu_seconds

RUN_SECONDS = 300.0
_LOOK_SECONDS = 0.02
_STATUS_SECONDS = 0.25
_PROFILER_RATE = 200


def to_the_end(
    contender: Contender, bench: Bench, work: Work, *, waits: float = 0.0, profile: Path | None = None
) -> Figure:
    """Lets a contender in a new group read the topic to its end.

    Its seconds run from the assignment, as it tells it, to the last call, as the destination receives it, less those
    for which it `waits` at the end while there is nothing else to do. If it makes no calls, they run to when it says
    that it is done. CPU seconds are those of its process in the same span. With `profile`, py-spy samples it.

    Raises:
        NotMeasured: something was lost, refused or sent again, or the time was up.
    """
    before = bench.destination.counted().calls
    with started(contender, bench, work) as (running, usage):
        begun = assigned(running, usage)
        with _profiled(running.pid, profile):
            look_until(running.finished, running, usage, _STATUS_SECONDS)
        counted = bench.destination.counted()
        calls = counted.calls - before
        running.finish(counted._replace(calls=calls))
        ended = counted.last if calls else running.finished() or 0.0
        return Figure(work.events, ended - begun - waits, usage.at(ended) - usage.at(begun), calls)


def for_calls(contender: Contender, bench: Bench, work: Work, calls: int) -> Figure:
    """Lets a contender begin on a topic, and ends it after so many calls, however much more there is to do.

    Raises:
        NotMeasured: it did not come so far, or refused something or sent it again, or the time was up.
    """
    before = bench.destination.counted().calls
    with started(contender, bench, work) as (running, usage):
        begun = assigned(running, usage)
        look_until(lambda: bench.destination.counted().calls - before >= calls, running, usage)
        counted = bench.destination.counted()
        usage.look()
        running.check()
        done = counted.calls - before
        return Figure(done, counted.last - begun, usage.at(counted.last) - usage.at(begun), done)


@contextmanager
def started(contender: Contender, bench: Bench, work: Work) -> Iterator[tuple[Running, Usage]]:
    """The contender's process; it is ended at the end."""
    running = contender.start(bench, work)
    try:
        yield running, Usage(running.pid)
    finally:
        running.kill()


def assigned(running: Running, usage: Usage) -> float:
    """Waits until it has partitions; since when."""
    look_until(running.assigned, running, usage)
    return running.assigned() or 0.0


class Usage:
    """A process's CPU seconds over time, in seconds since the epoch."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._times: list[float] = []
        self._seconds: list[float] = []

    def look(self) -> None:
        """Notes what was used until now."""
        self._times.append(time.time())
        self._seconds.append(cpu_seconds(self._pid))

    def at(self, instant: float) -> float:
        """CPU seconds used up to an instant, interpolated between the looks before and after it."""
        after = min(max(bisect.bisect(self._times, instant), 1), len(self._times) - 1)
        span = self._times[after] - self._times[after - 1]
        part = (instant - self._times[after - 1]) / span
        return self._seconds[after - 1] + part * (self._seconds[after] - self._seconds[after - 1])


def look_until(condition: Callable[[], object], running: Running, usage: Usage, pause: float = _LOOK_SECONDS) -> None:
    """Waits for the condition, checked every `pause` seconds. Looks at the process's CPU time much more often.

    Raises:
        NotMeasured: the process ended, or the time was up.
    """
    deadline = time.monotonic() + RUN_SECONDS
    ask_at = 0.0
    while True:
        now = time.monotonic()
        if running.ended or now > deadline:
            raise NotMeasured(f"it did not finish: {running.tail()}")
        usage.look()
        if now >= ask_at:
            if condition():
                usage.look()
                return
            ask_at = now + pause
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _profiled(pid: int, output: Path | None) -> Iterator[None]:
    if output is None:
        yield
        return
    profiler = shutil.which("py-spy")
    if profiler is None:
        raise NotMeasured("py-spy is not on the path")
    options = ["--format", "raw", "--threads", "--rate", str(_PROFILER_RATE), "--output", str(output)]
    sampling = subprocess.Popen(  # noqa: S603 - found on the user's own path
        [profiler, "record", "--pid", str(pid), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        sampling.send_signal(signal.SIGINT)
        sampling.wait(60)
