"""A destination that takes 150 calls a second: how well a backlog uses them, and what the worker costs meanwhile."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

from bench.contenders import WORKER, Bench, NotMeasured, RunningWorker, Work, new_group
from bench.figures import cpu_seconds
from bench.loads import PARTITIONS, SEED, new_topic, one_to_one, write
from bench.stage import Measure, Repetitions, Row, Sample, Stage
from bench.traffic import Late, send
from tests.support.processes import until

LIMIT = 150
TIME_TO_IDEAL = Measure("time to users / 150 s", higher_is_better=False, is_ratio=True)
OVER_THE_LIMIT = Measure("answered 429", higher_is_better=False)
CORE_PERCENT = Measure("% of a core", higher_is_better=False)
CALLS_PER_SECOND = Measure("calls/s", higher_is_better=True)
GROUPS = {"one worker": 1, "three workers": 3}

_SETTINGS = {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(LIMIT)}
_JOIN_SECONDS = 60
_EVENTS_PER_SECOND = 1_500
_WINDOW_SECONDS = 5.0
_LIVE_USERS = 833  # of whom each is called for every 5.55 s: the window, and the wait for the next change behind it


def _backlog(stage: Stage) -> Repetitions:
    load = one_to_one(stage.size(4_500, 600))
    while True:
        samples = []
        for name, size in GROUPS.items():
            with stage.bench("-limit", str(LIMIT)) as bench, ExitStack() as stack:
                topic = new_topic(stage.broker)
                _join(size, bench, Work(topic, 0, 0.0, _SETTINGS), stack)
                started = time.time()
                write(stage.broker, load, topic)
                most = 3 * load.users / LIMIT + _JOIN_SECONDS
                until(lambda: bench.destination.counted().calls >= load.users, most, f"{name} has called", pause=0.25)
                counted = bench.destination.counted()
                if counted.calls != load.users:
                    raise NotMeasured(f"{name}: {counted.calls} calls for {load.users} users")
            samples.append(Sample(name, TIME_TO_IDEAL, (counted.last - started) / (load.users / LIMIT)))
            samples.append(Sample(name, OVER_THE_LIMIT, counted.limited))
        yield samples


def _join(size: int, bench: Bench, work: Work, stack: ExitStack) -> list[RunningWorker]:
    """So many workers of one group, when they share the partitions; they are ended at the end."""
    group = new_group(bench)
    workers = []
    for _ in range(size):
        workers.append(WORKER.join(group, bench, work))
        stack.callback(workers[-1].kill)

    def share() -> bool:
        held = [len(each.command.status()["partitions"]) for each in workers]
        return all(held) and sum(held) == PARTITIONS

    until(share, _JOIN_SECONDS, f"{size} workers share the partitions", pause=0.25)
    return workers


def _live(stage: Stage) -> Repetitions:
    rng = random.Random(SEED)
    warm, measured = stage.size(10, 6), stage.size(20, 4)

    def traffic(topic: str, seconds: float) -> None:
        try:
            send(
                stage.broker,
                topic,
                per_second=_EVENTS_PER_SECOND,
                seconds=seconds,
                user_of=lambda _: rng.randrange(_LIVE_USERS),
            )
        except Late as problem:
            raise NotMeasured(str(problem)) from None

    while True:
        with stage.bench("-limit", str(LIMIT)) as bench, ExitStack() as stack:
            topic = new_topic(stage.broker)
            [worker] = _join(1, bench, Work(topic, 0, _WINDOW_SECONDS, _SETTINGS), stack)
            traffic(topic, warm)
            used, calls, started = cpu_seconds(worker.pid), bench.destination.counted().calls, time.monotonic()
            traffic(topic, measured)
            seconds = time.monotonic() - started
            yield [
                Sample("worker", CORE_PERCENT, (cpu_seconds(worker.pid) - used) / seconds * 100),
                Sample("worker", CALLS_PER_SECOND, (bench.destination.counted().calls - calls) / seconds),
            ]


BACKLOG = Row("backlog at 150/s", "a waiting change of each user; the destination takes 150 calls a second", _backlog)
LIVE = Row(
    "live at 150/s",
    f"{_EVENTS_PER_SECOND:,} events a second, a window of {_WINDOW_SECONDS:.0f} s, and so about {LIMIT} calls a second",
    _live,
)
ROWS = (BACKLOG, LIVE)
