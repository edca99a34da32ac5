"""Draws the results: who is how fast beside whom, and what an event costs by how much there is of everything else."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bench.report import Spread
from bench.results import Results
from bench.rows import growing, side_by_side
from bench.stage import CPU_PER_THOUSAND, EVENTS_PER_SECOND, Measure

_OURS, _THEIRS = "#b3446c", "#8d99a6"
_SIZE_INCHES = (13.0, 8.5)
_HEADROOM = 1.1
_SIZE_OF = {
    "partitions": "partitions held",
    "users": "users with an open entry",
    "attributes": "attributes of an event",
    "dropping": "partitions that hold 100,000 users",
}


def draw(results: Results, path: Path) -> None:
    """Writes the plot. Figures that were not measured leave their place empty."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    lines = figure.add_gridspec(3, 1)
    for line, measure in enumerate((EVENTS_PER_SECOND, CPU_PER_THOUSAND)):
        places = lines[line, 0].subgridspec(1, len(side_by_side.ROWS))
        for number, row in enumerate(side_by_side.ROWS):
            _bars(figure.add_subplot(places[0, number]), results, row.name, measure)
    places = lines[2, 0].subgridspec(1, len(growing.SIZES))
    for number, curve in enumerate(growing.SIZES):
        _curve(figure.add_subplot(places[0, number]), results, curve)
    figure.suptitle(f"{results.facts['date']}, {results.facts['commit']}: median, lowest and highest")
    figure.savefig(path, metadata={"Date": None})


def _bars(axes: Axes, results: Results, row: str, measure: Measure) -> None:
    found = {key.who: Spread.of(values) for key, values in results.values.items() if key[::2] == (row, measure)}
    whose = sorted(found, key=lambda who: found[who].median, reverse=not measure.higher_is_better)
    medians = [found[who].median for who in whose]
    lows = [found[who].median - found[who].low for who in whose]
    highs = [found[who].high - found[who].median for who in whose]
    colours = [_OURS if who == "worker" else _THEIRS for who in whose]
    axes.barh(whose, medians, xerr=[lows, highs], color=colours, error_kw={"linewidth": 0.8})
    axes.xaxis.set_major_formatter(EngFormatter("s" if measure == CPU_PER_THOUSAND else "", sep=""))
    axes.set_title(f"{row}: {measure.name}", fontsize=8, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _curve(axes: Axes, results: Results, curve: str) -> None:
    measure = growing.MEASURES[curve]
    spreads = {
        int(key.who.split()[0].replace(",", "")): Spread.of(values)
        for key, values in results.values.items()
        if key.measure == measure and key.who.endswith(f" {curve}")
    }
    if not spreads:
        return
    sizes = sorted(spreads)
    axes.plot(sizes, [spreads[size].median for size in sizes], color=_OURS, marker="o", markersize=3)
    lows, highs = [spreads[size].low for size in sizes], [spreads[size].high for size in sizes]
    axes.fill_between(sizes, lows, highs, color=_OURS, alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel(_SIZE_OF[curve])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylim(0, _HEADROOM * max(highs))
    axes.set_title(f"the engine alone: {measure.name}", fontsize=8, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
