"""Small charts of the last half hour, as SVG that the server draws. What nobody recorded is a grey gap, not a zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, get_args

from worker.ops.history import STEP_SECONDS, STEPS, Step
from worker.ops.outcomes import Outcome
from worker.ops.page.words import duration, per_second, size

_STEP_WIDTH: Final = 3
_WIDTH: Final = STEPS * _STEP_WIDTH
_TOP: Final = 16
_BOTTOM: Final = 96
_HEIGHT: Final = 112
_OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
_SECONDS_TOPS: Final = (10, 30, 60, 300, 900, 1_800, 3_600, 3 * 3_600, 12 * 3_600, 86_400)

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class _Chart:
    """What all charts have.

    Attributes:
        name: the id of its elements.
        title: what it shows.
        values: one a step, the oldest first; None where nobody looked.
        top: the value at its upper edge.
        shown: a value in words.
        adds_up: whether a value grows until its step is over, so that the last one does not count yet.
    """

    name: str
    title: str
    values: Values
    top: float
    shown: Callable[[float], str]
    adds_up: bool = False

    def figure(self, marks: str, *, text: str = "", keys: str = "") -> str:
        """The whole figure around what is drawn of the values."""
        text = f"{self._summary()}{text}"
        return f"""<figure>
<figcaption><strong>{self.title}</strong>{text}</figcaption>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{self.name}-title"
 aria-describedby="{self.name}-text">
<title id="{self.name}-title">{self.title}, the last 30 minutes</title><desc id="{self.name}-text">{text}</desc>
{self._gaps()}
<path class="axis" d="M0,{_TOP}H{_WIDTH}M0,{_BOTTOM}H{_WIDTH}"/>
{marks}
<text x="0" y="{_TOP - 5}">{self.shown(self.top)}</text>
<text x="0" y="{_HEIGHT - 3}">30 min ago</text>
<text x="{_WIDTH}" y="{_HEIGHT - 3}" text-anchor="end">now</text>
</svg>
{keys}</figure>"""

    def height(self, value: float) -> float:
        """How far above the lower edge a value lies."""
        return round((_BOTTOM - _TOP) * min(value / self.top, 1.0), 1)

    def _summary(self) -> str:
        final = self.values[:-1] if self.adds_up else self.values
        known = [(value, at) for at, value in enumerate(final) if value is not None]
        if not known:
            return "No data yet."
        most, at = max(known)
        now = "" if final[-1] is None else f"Now {self.shown(final[-1])}. "
        ago = (STEPS - 1 - at) * STEP_SECONDS
        when = f"{duration(ago)} ago" if ago else "now"
        missing = (len(final) - len(known)) * STEP_SECONDS
        gap = f" No data for {duration(missing)}." if missing else ""
        return f"{now}At most {self.shown(most)}, {when}.{gap}" if most else f"Always {self.shown(0)}.{gap}"

    def _gaps(self) -> str:
        height = _BOTTOM - _TOP
        marks = "".join(
            f"M{first * _STEP_WIDTH},{_TOP}h{count * _STEP_WIDTH}v{height}h-{count * _STEP_WIDTH}z"
            for first, count in _runs([value is None for value in self.values])
        )
        return f'<path class="gap" d="{marks}"/>' if marks else ""


def charts(steps: Sequence[Step | None], held_bytes_max: int) -> str:
    """All charts of these steps."""
    return "\n".join((_calls(steps), _oldest(steps), _held(steps, held_bytes_max)))


def _calls(steps: Sequence[Step | None]) -> str:
    sums = [None if step is None else sum(step.calls.values()) / STEP_SECONDS for step in steps]
    chart = _Chart("calls", "Calls by outcome", sums, _rate_top(_largest(sums)), per_second, adds_up=True)
    totals = {name: sum(step.calls.get(name, 0) for step in steps if step is not None) for name in _OUTCOMES}
    keys = "".join(
        f'<span class="key" style="--of: var(--{name})">{name.replace("_", " ")} {count:,}</span>'
        for name, count in totals.items()
        if count
    )
    marks, below = [], [0.0] * len(steps)
    for name in (name for name in _OUTCOMES if totals[name]):
        bars = []
        for at, step in enumerate(steps):
            height = 0.0 if step is None else chart.height(step.calls.get(name, 0) / STEP_SECONDS)
            if height:
                bars.append(f"M{at * _STEP_WIDTH},{_BOTTOM - below[at] - height:.1f}h2.4v{height}h-2.4z")
                below[at] += height
        marks.append(f'<path style="fill: var(--{name})" d="{"".join(bars)}"/>')
    return chart.figure("\n".join(marks), keys=f"<p>{keys}</p>\n" if keys else "")


def _oldest(steps: Sequence[Step | None]) -> str:
    ages = [None if step is None else step.oldest_seconds for step in steps]
    largest = _largest(ages)
    top = next((bound for bound in _SECONDS_TOPS if largest <= bound), math.ceil(largest / 86_400) * 86_400.0)
    chart = _Chart("oldest", "Age of the oldest undelivered change", ages, top, duration)
    return chart.figure(_curve(chart))


def _held(steps: Sequence[Step | None], most: int) -> str:
    held = [None if step is None else float(step.held_bytes) for step in steps]
    chart = _Chart("held", "Held in memory", held, max(_largest(held), most, 1), size)
    limit = f'<path class="limit" d="M0,{_BOTTOM - chart.height(most)}H{_WIDTH}"/>' if most else ""
    return chart.figure(limit + _curve(chart), text=f" The budget is {size(most)}: the broken line." if most else "")


def _curve(chart: _Chart) -> str:
    pieces = []
    for first, count in _runs([value is not None for value in chart.values]):
        points = [
            f"{(first + at + 0.5) * _STEP_WIDTH:g},{_BOTTOM - chart.height(value or 0.0):.1f}"
            for at, value in enumerate(chart.values[first : first + count])
        ]
        # A step that stands alone is a dot: a line of no length with round ends.
        pieces.append(f"M{points[0]}L{' '.join(points[1:] or points)}")
    return f'<path class="curve" d="{"".join(pieces)}"/>' if pieces else ""


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Where runs of true begin, and how long they are."""
    found, at = [], 0
    for flag, run in groupby(flags):
        count = len(list(run))
        if flag:
            found.append((at, count))
        at += count
    return found


def _largest(values: Values) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _rate_top(largest: float) -> float:
    """The next of 1, 2, 5, 10, 20 and so on."""
    power = 10 ** math.floor(math.log10(max(largest, 1.0)))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= largest))
