"""What got worse since the last committed results by more than the noise in either run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import NamedTuple

from bench.commits import git
from bench.compiled import ROOT
from bench.report import Spread
from bench.results import Key, Results, shown
from bench.theirs import PEERS

RESULTS = ROOT / "bench" / "results"
_PEERS = {peer.name for peer in PEERS}
_NOISE_MIN = 0.05
_DATE_CHARACTERS = len("2026-01-31")
_MACHINE = ("cpu", "cores", "system", "python", "pinned", "broker")


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
    same = not unlike(before, now)
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


def unlike(before: Results, now: Results) -> list[str]:
    """Which facts of the machine are not known to be the same."""
    return [name for name in _MACHINE if (was := before.facts.get(name)) is None or was != now.facts.get(name)]


def new_file(folder: Path, results: Results) -> Path:
    """Where to keep these, beside others of the same day and commit: these have a number."""
    name = f"{results.facts['date']}-{results.facts['commit']}"
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    return next(path for end in ends if not (path := folder / f"{name}{end}.json").exists())


def last_committed(root: Path = ROOT) -> tuple[str, Results] | None:
    """The newest results that are committed, and their file's name. None if there are none."""
    # Results that take the place of older ones look like these, renamed, unless git is told not to see it so.
    changed = ("log", "--format=", "--name-only", "--no-renames", "--diff-filter=AM")
    names = git(*changed, "--", "bench/results/*.json", root=root).split()
    paths = [path for name in names if (path := root / name).exists()]
    if not paths:
        return None
    newest = max(paths, key=lambda path: path.name[:_DATE_CHARACTERS])  # of several of one day, what git names first
    return newest.name, Results.read(json.loads(newest.read_text(encoding="utf-8")))
