"""One run of the real worker over a load, from its assignment to its last call."""

from __future__ import annotations

import bisect
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.destination import Destination
from bench.figures import Figure, cpu_seconds
from bench.loads import PARTITIONS, Load
from tests.support.brokers import Broker, unique_name
from tests.support.processes import TOKEN, WorkerCommand
from tests.support.profiles import schema_directory

REQUESTS_PER_SECOND = 10_000  # the most that the settings accept, so that the rate is not the limit
RUN_SECONDS = 180.0
_LOOK_SECONDS = 0.02
_STATUS_SECONDS = 0.25
_PROFILER_RATE = 200


class NotMeasured(Exception):
    """The run did not do what it was to measure; the message says what it did instead."""


@dataclass(frozen=True)
class Bench:
    """Where the worker runs: its broker, its destination, and a folder for what it writes."""

    broker: Broker
    destination: Destination
    directory: Path


def run(bench: Bench, load: Load, topic: str, profile: Path | None = None) -> Figure:
    """Lets a worker in a new group read the topic to its end.

    Its seconds run from the assignment, as the worker logs it, to the last call, as the destination receives it, less
    one window: the last user's changes wait that long while there is nothing else to do. CPU seconds are those of the
    worker's process in the same span. With `profile`, py-spy samples the worker into that file.

    Raises:
        NotMeasured: a record was lost, refused or sent again, or the time was up.
    """
    name = unique_name("worker")
    dead_letters = f"{name}.dead-letter"
    bench.broker.create_topic(dead_letters, PARTITIONS)
    bench.destination.counted()
    worker = WorkerCommand(
        bench.directory / name,
        {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": bench.broker.bootstrap_servers,
            "WORKER_KAFKA__TOPICS": topic,
            "WORKER_KAFKA__GROUP_ID": name,
            "WORKER_KAFKA__DEAD_LETTER_TOPIC": dead_letters,
            "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(bench.directory / "schemas")),
            "WORKER_ATTENTIVE__BASE_URL": bench.destination.base_url,
            "WORKER_ATTENTIVE__TOKEN": TOKEN,
            "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
            "WORKER_WINDOW__SECONDS": str(load.window_seconds),
        },
    )
    try:
        usage = _Usage(worker.process.pid)
        _until(lambda: worker.events("assigned"), worker, load, usage)
        with _profiled(worker.process.pid, profile):
            _until(lambda: _settled(worker, load), worker, load, usage, pause=_STATUS_SECONDS)
        return _figure(worker, load, usage, bench.destination)
    finally:
        worker.kill()


class _Usage:
    """The worker's CPU seconds over time, in seconds since the epoch."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._times: list[float] = []
        self._seconds: list[float] = []

    def look(self) -> None:
        self._times.append(time.time())
        self._seconds.append(cpu_seconds(self._pid))

    def at(self, instant: float) -> float:
        """CPU seconds used up to an instant, interpolated between the looks before and after it."""
        after = min(max(bisect.bisect(self._times, instant), 1), len(self._times) - 1)
        span = self._times[after] - self._times[after - 1]
        part = (instant - self._times[after - 1]) / span
        return self._seconds[after - 1] + part * (self._seconds[after] - self._seconds[after - 1])


def _until(
    condition: Callable[[], object], worker: WorkerCommand, load: Load, usage: _Usage, pause: float = _LOOK_SECONDS
) -> None:
    """Waits for the condition, checked every `pause` seconds. Looks at the worker's CPU time much more often."""
    deadline = time.monotonic() + RUN_SECONDS
    ask_at = 0.0
    while True:
        usage.look()
        now = time.monotonic()
        if worker.process.poll() is not None or now > deadline:
            raise NotMeasured(f"{load.name}: the worker did not finish: {worker.log.read_text()[-2000:]}")
        if now >= ask_at:
            if condition():
                usage.look()
                return
            ask_at = now + pause
        time.sleep(_LOOK_SECONDS)


def _settled(worker: WorkerCommand, load: Load) -> bool:
    status = worker.status()
    return bool(status["totals"]["records"] >= len(load.records) and not status["open_entries"])


def _figure(worker: WorkerCommand, load: Load, usage: _Usage, destination: Destination) -> Figure:
    totals = worker.status()["totals"]
    counted = destination.counted()
    events = len(load.records)
    odd = {
        "records": totals["records"] != events,
        "changes": totals["changes"] != events,
        "calls": totals["calls"] != counted.calls,
        "retries": totals["retries"] != 0,
        "dead_letters": any(totals["dead_letters"].values()),
    }
    if any(odd.values()):
        raise NotMeasured(f"{load.name}: of {events} events and {counted.calls} calls seen, the worker says {totals}")
    if worker.stop() != 0:
        raise NotMeasured(f"{load.name}: the worker did not stop in order: {worker.log.read_text()[-2000:]}")
    assigned = next(line["timestamp"] for line in worker.events("assigned") if line["gained"])
    started = datetime.fromisoformat(assigned).timestamp()
    return Figure(
        events=events,
        seconds=counted.last - started - load.window_seconds,
        cpu_seconds=usage.at(counted.last) - usage.at(started),
        calls=counted.calls,
    )


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
