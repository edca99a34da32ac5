"""What an event costs by how much there is of everything else: the engine alone, each size in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from bench import cores
from bench.compiled import ROOT
from bench.contenders import NotMeasured
from bench.stage import Measure, Repetitions, Row, Sample, Stage

COST = Measure("µs an event", higher_is_better=False)
COST_OF_ONE = Measure("µs an attribute", higher_is_better=False)
SECONDS = Measure("s to drop all partitions", higher_is_better=False)
BYTES = Measure("bytes a waiting change, beyond its value", higher_is_better=False)
GROWTH = Measure("the largest size's cost to a small one's", higher_is_better=False, is_ratio=True)

SIZES = {
    "partitions": (1, 10, 50, 200),
    "users": (100, 1_000, 10_000, 100_000, 1_000_000),
    "attributes": (1, 5, 20, 50, 200),
    "dropping": (1, 4, 16, 48),
}
_COMPARED_WITH = {"partitions": 1, "users": 1_000, "attributes": 20, "dropping": 1}
"""The size whose cost the largest one's is divided by: below it, what each event costs anyhow is most of it."""
FLAT = 1.25
"""The most that the largest size may cost, compared so."""
_QUICK_MAX = 10_000
_SECONDS_MAX = 600


def _measured(curve: str, size: int) -> dict[str, float]:
    try:
        with cores.measured():
            done = subprocess.run(  # noqa: S603 - the bench itself
                [sys.executable, "-m", "bench.growth", curve, str(size)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS_MAX,
            )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"{curve} {size}: not within {_SECONDS_MAX} s") from None
    if done.returncode != 0:
        raise NotMeasured(f"{curve} {size}: {done.stderr[-1000:]}")
    return dict(json.loads(done.stdout))


def _growth(stage: Stage) -> Repetitions:
    while True:
        samples = []
        for curve, all_sizes in SIZES.items():
            sizes = [size for size in all_sizes if size <= _QUICK_MAX or not stage.quick]
            costs = {}
            for size in sizes:
                found = _measured(curve, size)
                costs[size] = found["cost"]
                samples.append(Sample(f"{size:,} {curve}", MEASURES[curve], costs[size]))
                if "bytes" in found:
                    samples.append(Sample(f"{size:,} {curve}", BYTES, found["bytes"]))
            samples.append(Sample(curve, GROWTH, costs[sizes[-1]] / costs[_COMPARED_WITH[curve]]))
        yield samples


MEASURES = {"partitions": COST, "users": COST, "attributes": COST_OF_ONE, "dropping": SECONDS}
GROWING = Row("growth", "the engine alone, by partitions, open users, attributes; and dropping", _growth, 3)
ROWS = (GROWING,)
