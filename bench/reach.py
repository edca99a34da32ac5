"""What the worker is to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.results import Key, Results, columns, shown
from bench.rows import alone, growing, limited, side_by_side
from bench.stage import EVENTS_PER_SECOND, Measure, workers_to_its

_WORKER = "worker"
_BESIDE_MEBIBYTES = 150


class Goal(NamedTuple):
    """A figure, and the least (or, where lower is better, the most) that it is to be."""

    key: Key
    bound: float

    def met(self, median: float) -> bool:
        """Whether this is good enough."""
        return median >= self.bound if self.key.measure.higher_is_better else median <= self.bound


def _beside(row: str, peer: str, bound: float, measure: Measure = EVENTS_PER_SECOND) -> Goal:
    return Goal(Key(row, peer, workers_to_its(measure)), bound)


def _goal(row: str, measure: Measure, bound: float, who: str = _WORKER) -> Goal:
    return Goal(Key(row, who, measure), bound)


GOALS = (
    _beside("100:1", "aiokafka + aiohttp", 1.0),
    _beside("100:1", "consume + fastavro", 0.6),
    _beside("10:1", "aiokafka + aiohttp", 0.7),
    _beside("1:1", "threads + httpx", 2.0),
    _goal("1:1, 50 ms", EVENTS_PER_SECOND, 0.7 * side_by_side.CEILING),
    _goal("backlog at 150/s", limited.TIME_TO_IDEAL, 1.05, "one worker"),
    _goal("backlog at 150/s", limited.TIME_TO_IDEAL, 1.10, "three workers"),
    _goal("backlog at 150/s", limited.OVER_THE_LIMIT, 0, "one worker"),
    _goal("backlog at 150/s", limited.OVER_THE_LIMIT, 0, "three workers"),
    _goal("live at 150/s", limited.CORE_PERCENT, 6),
    _goal("memory", alone.PEAK_DOWN, alone.BUDGET_MEBIBYTES + _BESIDE_MEBIBYTES),
    _goal("memory", alone.PEAK, alone.BUDGET_MEBIBYTES + _BESIDE_MEBIBYTES),
    _goal("start", alone.AT_REST, 85),
    _goal("growth", growing.BYTES, 400, "1,000,000 users"),
    _goal("delay", alone.P99, 50),
    _goal("start", alone.FIRST_CALL, 1.5),
    _goal("start", alone.HELP, 0.3),
    *(_goal("growth", growing.GROWTH, growing.FLAT, curve) for curve in growing.SIZES),
)


def table(results: Results, goals: Sequence[Goal] = GOALS) -> str:
    """Each goal's row, figure, bound and whether it was reached, for those that were measured."""
    lines = [("row", "figure", "median (lowest-highest)", "bound", "")]
    for goal in goals:
        spread = results.spread(goal.key)
        if spread is not None:
            bound = f"{'at least' if goal.key.measure.higher_is_better else 'at most'} {goal.bound:,.4g}"
            said = "reached" if goal.met(spread.median) else "NOT REACHED"
            name = goal.key.measure.name
            figure = name if goal.key.who == _WORKER else f"{goal.key.who}: {name}"
            lines.append((goal.key.row, figure, shown(spread), bound, said))
    return columns(lines)
