"""The worker alone: its memory while the destination is down, its delay, its start."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

from bench import cores
from bench.contenders import NotMeasured, Work
from bench.figures import resident_mebibytes
from bench.loads import fill, four_large, new_topic, one_to_one
from bench.ours import WORKER
from bench.running import assigned, look_until, started
from bench.stage import Measure, Repetitions, Row, Sample, Stage
from bench.traffic import Late, send
from tests.support.processes import until

BUDGET_MEBIBYTES = 64
PEAK_DOWN = Measure("MiB resident at most, destination down", higher_is_better=False)
PEAK = Measure("MiB resident at most", higher_is_better=False)
AT_REST = Measure("MiB resident at rest", higher_is_better=False)
P99 = Measure("ms beyond the window, 99 %", higher_is_better=False)
P50 = Measure("ms beyond the window, 50 %", higher_is_better=False)
FIRST_CALL = Measure("s from exec to the first call", higher_is_better=False)
HELP = Measure("s for --help", higher_is_better=False)

_DELAY_EVENTS_PER_SECOND = 500
_DELAY_WINDOW_SECONDS = 1.0
_DELAY_WARM_SECONDS = 3
_USERS_BETWEEN = 100_000  # so that no repetition meets another's users
_REST_SECONDS = 3.0


def _memory(stage: Stage) -> Repetitions:
    load, down = four_large(stage.size(400_000, 20_000)), stage.size(60, 8)
    topic = fill(stage.broker, load)
    settings = {"WORKER_WINDOW__MAX_BYTES": str(BUDGET_MEBIBYTES * 1024 * 1024)}
    while True:
        with stage.bench("-down", f"{down}s") as bench:
            work = Work(topic, len(load.records), load.window_seconds, settings)
            with started(WORKER, bench, work) as (running, usage):
                assigned(running, usage)
                look_until(lambda: bench.destination.counted().calls > 0, running, usage, pause=0.1)
                while_down = resident_mebibytes(running.pid, most=True)
                look_until(running.finished, running, usage, pause=0.5)
                peak = resident_mebibytes(running.pid, most=True)
        yield [Sample("worker", PEAK_DOWN, while_down), Sample("worker", PEAK, peak)]


def _delay(stage: Stage) -> Repetitions:
    seconds = stage.size(20, 4)
    for number in itertools.count():
        with stage.bench("-delay", "0s") as bench:  # compiled: the one in Python tells no delays
            topic = new_topic(stage.broker)
            work = Work(topic, 0, _DELAY_WINDOW_SECONDS, {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "10000"})
            with started(WORKER, bench, work) as (running, usage):
                assigned(running, usage)
                first = number * _USERS_BETWEEN
                try:
                    send(
                        stage.broker,
                        topic,
                        per_second=_DELAY_EVENTS_PER_SECOND,
                        seconds=_DELAY_WARM_SECONDS + seconds,
                        user_of=lambda event: first + event,  # noqa: B023 - used at once
                    )
                except Late as problem:
                    raise NotMeasured(str(problem)) from None
                events = _DELAY_EVENTS_PER_SECOND * (_DELAY_WARM_SECONDS + seconds)
                until(lambda: bench.destination.counted().calls >= events, 30, "all calls are made")  # noqa: B023 - used at once
                running.check()
            delays = bench.destination.delays()[_DELAY_WARM_SECONDS * _DELAY_EVENTS_PER_SECOND :]
        beyond = sorted(each / 1000 - _DELAY_WINDOW_SECONDS * 1000 for each in delays)
        yield [
            Sample("worker", P50, beyond[len(beyond) // 2]),
            Sample("worker", P99, beyond[len(beyond) * 99 // 100]),
        ]


def _start(stage: Stage) -> Repetitions:
    topic = fill(stage.broker, one_to_one(1))
    while True:
        with stage.bench() as bench:
            executed = time.time()
            with started(WORKER, bench, Work(topic, 1, 0.0)) as (running, usage):
                look_until(lambda: bench.destination.counted().calls, running, usage)
                first_call = bench.destination.counted().first - executed
                time.sleep(_REST_SECONDS)
                at_rest = resident_mebibytes(running.pid, most=False)
        yield [
            Sample("worker", FIRST_CALL, first_call),
            Sample("worker", HELP, _help_seconds()),
            Sample("worker", AT_REST, at_rest),
        ]


def _help_seconds() -> float:
    executed = time.monotonic()
    with cores.measured():
        subprocess.run([sys.executable, "-m", "worker", "--help"], check=True, capture_output=True, timeout=60)
    return time.monotonic() - executed


MEMORY = Row(
    "memory",
    f"large records of users with four changes each, a budget of {BUDGET_MEBIBYTES} MiB, and the destination is down",
    _memory,
    repetitions_max=3,
)
DELAY = Row("delay", f"{_DELAY_EVENTS_PER_SECOND} events a second, each of another user", _delay)
START = Row("start", "a topic with one record", _start)
ROWS = (MEMORY, DELAY, START)
