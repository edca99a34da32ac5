"""What got worse since the last committed results by more than the noise in either run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.compiled import ROOT
from bench.contenders import PEERS
from bench.report import Spread
from bench.results import Key, Results, shown

RESULTS = ROOT / "bench" / "results"
_PEERS = {peer.name for peer in PEERS}
_NOISE_MIN = 0.05
_MACHINE = ("cores", "system", "python", "pinned")


class Change(NamedTuple):
    """A figure that moved by more than the noise."""

    key: Key
    before: Spread
    now: Spread

    @property
    def worse(self) -> bool:
        """Whether it moved the wrong way."""
        return (self.now.median < self.before.median) is self.key.measure.higher_is_better

    def text(self) -> str:
        """For people."""
        way = "worse" if self.worse else "better"
        key = self.key
        return f"{way}: {key.row}, {key.who}, {key.measure.name}: {shown(self.before)} -> {shown(self.now)}"


def changes(before: Results, now: Results) -> list[Change]:
    """The worker's figures that moved by more than the noise: the larger spread of both runs, and 5 % at least.

    Between two machines only ratios compare. What peers do is no concern of the worker's.
    """
    same = all(before.facts.get(name) == now.facts.get(name) for name in _MACHINE)
    moved = []
    for key, values in now.values.items():
        was = before.spread(key)
        comparable = key.measure.is_ratio or (same and key.who not in _PEERS)
        if was is None or not comparable:
            continue
        change = Change(key, was, Spread.of(values))
        noise = max(was.high - was.low, change.now.high - change.now.low, _NOISE_MIN * abs(was.median))
        if abs(change.now.median - was.median) > noise:
            moved.append(change)
    return moved


def last_committed() -> tuple[str, Results] | None:
    """The newest results that are committed, and their file's name. None if there are none."""
    done = subprocess.run(
        ["git", "log", "--format=", "--name-only", "--diff-filter=AM", "--", "bench/results/*.json"],  # noqa: S607 - whichever git the developer uses
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    for name in done.stdout.split():
        path = ROOT / name
        if path.exists():
            return Path(name).name, Results.read(json.loads(path.read_text(encoding="utf-8")))
    return None
