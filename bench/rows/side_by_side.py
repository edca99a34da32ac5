"""The worker beside its peers on the same records, in turn."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence

from bench.contenders import CONSUME, WORKER, Bench, Contender, NotMeasured, Work
from bench.figures import Figure
from bench.loads import Load, fill, hundred_to_one, one_to_one, ten_to_one
from bench.running import for_calls, to_the_end
from bench.stage import CPU_PER_THOUSAND, EVENTS_PER_SECOND, Repetitions, Row, Sample, Stage, ratios

IN_FLIGHT = 256
DELAY_MILLISECONDS = 50
CEILING = IN_FLIGHT * 1000 / DELAY_MILLISECONDS
"""Calls a second that so many in flight can make, if each takes its delay and nothing else takes time."""


def _one_to_one(stage: Stage) -> Repetitions:
    load, calls = one_to_one(stage.size(250_000, 20_000)), stage.size(20_000, 2_000)
    with stage.bench() as bench:
        work = _work(stage, load)
        yield from _in_turn(_callers(stage), lambda contender: for_calls(contender, bench, work, calls))


def _with_a_delay(stage: Stage) -> Repetitions:
    load = one_to_one(stage.size(20_000, 2_000))
    with stage.bench("-delay", f"{DELAY_MILLISECONDS}ms") as bench:
        work = _work(stage, load, {"WORKER_ATTENTIVE__CONCURRENCY": str(IN_FLIGHT)})
        yield from _in_turn(_callers(stage), lambda contender: _whole(contender, bench, work, load))


def _ten_to_one(stage: Stage) -> Repetitions:
    yield from _coalesced(stage, ten_to_one(stage.size(200_000, 10_000)), _callers(stage))


def _hundred_to_one(stage: Stage) -> Repetitions:
    yield from _coalesced(stage, hundred_to_one(stage.size(400_000, 20_000)), (WORKER, *stage.peers))


def _callers(stage: Stage) -> Sequence[Contender]:
    return (WORKER, *(peer for peer in stage.peers if peer is not CONSUME))


def _coalesced(stage: Stage, load: Load, contenders: Sequence[Contender]) -> Repetitions:
    with stage.bench() as bench:
        work = _work(stage, load)
        yield from _in_turn(contenders, lambda contender: _whole(contender, bench, work, load))


def _work(stage: Stage, load: Load, settings: dict[str, str] | None = None) -> Work:
    return Work(fill(stage.broker, load), len(load.records), load.window_seconds, settings or {})


def _whole(contender: Contender, bench: Bench, work: Work, load: Load) -> Figure:
    # A peer knows where the topic ends and does not wait there, so what the worker waits there does not count.
    figure = to_the_end(contender, bench, work, waits=load.window_seconds if contender is WORKER else 0.0)
    if contender is not CONSUME and figure.calls < load.users:
        raise NotMeasured(f"{contender.name}: {figure.calls} calls for {load.users} users")
    return figure


def _in_turn(contenders: Sequence[Contender], run: Callable[[Contender], Figure]) -> Repetitions:
    """Each repetition begins with another one: what goes first may find the broker's caches cold."""
    for number in itertools.count():
        first = number % len(contenders)
        samples: list[Sample] = []
        for contender in (*contenders[first:], *contenders[:first]):
            try:
                figure = run(contender)
            except NotMeasured as problem:
                if contender is WORKER:
                    raise
                print(f"'{contender.name}' is left out of this repetition: {problem}", file=sys.stderr)
                continue
            samples.append(Sample(contender.name, EVENTS_PER_SECOND, figure.per_second))
            samples.append(Sample(contender.name, CPU_PER_THOUSAND, figure.cpu_per_thousand))
        yield [*samples, *ratios(samples)]


ROWS = (
    Row("1:1", "every event is of another user, none waits; a long backlog, measured over its beginning", _one_to_one),
    Row(
        "1:1, 50 ms",
        f"the same, and the destination takes {DELAY_MILLISECONDS} ms; {IN_FLIGHT} calls in flight",
        _with_a_delay,
    ),
    Row("10:1", "ten changes of each user within the window of 1 s", _ten_to_one),
    Row("100:1", "a hundred changes of each user within the window of 1 s", _hundred_to_one),
)
