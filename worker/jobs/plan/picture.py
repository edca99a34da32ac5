"""Draws a plan: the calls of each window over time beside the limit, and delay against calls saved."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from worker.jobs.plan.figures import Figures, WindowFigures

SUFFIXES: Final = (".svg", ".png", ".html")
Colour: TypeAlias = tuple[float, float, float, float]
_STEPS_MAX: Final = 240
_LIGHTEST: Final = 0.72  # of the colour map: lighter text is hard to read
_LIMIT_COLOUR: Final = "#c62828"
_LABEL_LIFT: Final = 6  # of a point's name, in points of type
_LABEL_STEP: Final = 12
_LABEL_LIFT_MAX: Final = 30
_LABEL_WIDTH: Final = 0.1  # of the share of calls saved
_SOFT: Final = "#57606a"
_STYLE: Final[dict[Any, Any]] = {  # matplotlib names each key in its own types
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b0b8c1",
    "axes.labelcolor": _SOFT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "svg.hashsalt": "plan",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Plan</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:75rem;margin:0 auto;padding:1.5rem;color:#1b1f24}}
svg{{max-width:100%;height:auto}}pre{{overflow-x:auto;background:#f6f8fa;padding:1rem}}</style></head>
<body><h1>What a window would cost</h1>{picture}<pre>{text}</pre></body></html>
"""


def write_picture(figures: Figures, path: Path, text: str) -> None:
    """Writes the file that `path` names: SVG, PNG, or a page with the picture and `text`.

    Raises:
        OSError: It cannot be written.
    """
    kind = path.suffix.lower()
    if kind == ".html":
        svg = _drawn(figures, "svg").decode()
        page = _PAGE.format(picture=svg[svg.index("<svg") :], text=escape(text))
        path.write_text(page, encoding="utf-8")
    else:
        path.write_bytes(_drawn(figures, kind.removeprefix(".")))


def _drawn(figures: Figures, kind: str) -> bytes:
    windows = sorted(figures.windows, key=lambda each: each.seconds)
    colours = [
        mpl.colormaps["viridis"](_LIGHTEST * number / max(1, len(windows) - 1)) for number in range(len(windows))
    ]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12, max(5.0, 1.5 + 1.05 * len(windows))), layout="constrained")
        over_time, trade = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.7, 1), wspace=0.03)[0]
        _draw_over_time(over_time, figures, windows, colours)
        _draw_trade(trade.subplots(), figures, windows, colours)
        written = io.BytesIO()
        figure.savefig(written, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return written.getvalue()


def _draw_over_time(
    figure: SubFigure, figures: Figures, windows: Sequence[WindowFigures], colours: Sequence[Colour]
) -> None:
    """A panel a window, all to one scale: dark the mean of each step, light its busiest second."""
    seconds = [second for window in windows for second in (min(window.due), max(window.due))]
    begin, end = min(seconds), max(seconds) + 1
    step = max(1, math.ceil((end - begin) / _STEPS_MAX))
    edges = [datetime.fromtimestamp(at, UTC) for at in range(begin, end + step, step)]
    panels = list(figure.subplots(len(windows), 1, sharex=True, sharey=True, squeeze=False)[:, 0])
    for panel, window, colour in zip(panels, windows, colours, strict=True):
        sums, peaks = [0] * (len(edges) - 1), [0] * (len(edges) - 1)
        for second, calls in window.due.items():
            place = (second - begin) // step
            sums[place] += calls
            peaks[place] = max(peaks[place], calls)
        panel.stairs(peaks, edges, fill=True, color=colour, alpha=0.3)
        panel.stairs([each / step for each in sums], edges, fill=True, color=colour)
        panel.axhline(figures.limit, color=_LIMIT_COLOUR, linewidth=1, linestyle="--")
        panel.text(
            1.01, 0.5, f"{window.seconds:g} s", transform=panel.transAxes, va="center", color=colour, weight="bold"
        )
        panel.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panel.set_ylim(bottom=0)
        panel.margins(x=0)
    of = "" if step == 1 else f": mean (dark) and busiest second (light) of each {step} s"
    panels[0].set_title(f"Calls a second, when they become due{of}")
    over = panels[0].get_ylim()[1]
    panels[0].set_ylim(0, max(over, figures.limit * 1.35))
    panels[0].text(
        0.995,
        figures.limit,
        f"limit {figures.limit:g}/s",
        transform=panels[0].get_yaxis_transform(),
        ha="right",
        va="bottom",
        color=_LIMIT_COLOUR,
        fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1},
    )
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]  # so the library ships it
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]  # as above
    panels[-1].set_xlabel("time of the records (UTC)")


def _draw_trade(axes: Axes, figures: Figures, windows: Sequence[WindowFigures], colours: Sequence[Colour]) -> None:
    """What a longer window saves, and what it costs. A stem is what the limit adds to the window."""
    saved = [window.calls_saved / max(1, figures.changes) for window in windows]
    delays = [window.delay_seconds_max for window in windows]
    axes.plot(saved, delays, color="#b0b8c1", linewidth=1, zorder=1)
    lift, before = _LABEL_LIFT, -1.0
    for window, x, y, colour in zip(windows, saved, delays, colours, strict=True):
        axes.plot([x, x], [window.seconds, y], color=_LIMIT_COLOUR, linewidth=1.5, zorder=2)
        axes.scatter([x], [y], s=45, color=[colour], zorder=3)
        # Names of points that lie side by side stand one above the other.
        lift = lift + _LABEL_STEP if x - before < _LABEL_WIDTH and lift < _LABEL_LIFT_MAX else _LABEL_LIFT
        before = x
        axes.annotate(
            f"{window.seconds:g} s",
            (x, y),
            textcoords="offset points",
            xytext=(-7, lift),
            ha="right",
            color=colour,
            weight="bold",
        )
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(-0.15, max(2.0, *delays) * 2.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(-0.14, 1.04)
    axes.grid(color="#e4e8ec", linewidth=0.6)
    axes.set_title("Delay against calls saved")
    axes.set_xlabel("calls saved, of all changes")
    axes.set_ylabel("longest delay of a change, in seconds")
    axes.text(
        0.02, 0.98, "red: what the limit adds", transform=axes.transAxes, va="top", color=_LIMIT_COLOUR, fontsize=8
    )
