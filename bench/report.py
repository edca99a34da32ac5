"""Turns repetitions into medians and ratios, and prints them as a table or as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from bench.figures import Figure

DECODE = "decode alone"
PREFLIGHT = "decode + preflight"
DESTINATION = "destination alone"
_CPU = ("model name", "cpu family", "model", "CPU implementer", "CPU part")  # as Linux names them
Repetition: TypeAlias = Mapping[str, Figure]
"""The measurements of one repetition, by the name of the row."""


class Spread(NamedTuple):
    """The median, the lowest and the highest of one value in all repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these values, one for each repetition."""
        values = sorted(values)
        return cls(statistics.median(values), values[0], values[-1])

    def text(self, digits: int) -> str:
        """As the table shows it."""
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


class Row(NamedTuple):
    """One row of the report. Ratios are taken inside each repetition, before the median; None where there is none."""

    name: str
    events: int
    events_per_call: Spread | None
    events_per_second: Spread
    cpu_seconds_per_1000_events: Spread
    cpu_to_decode_alone: Spread | None
    time_to_decode_alone: Spread | None


def machine() -> dict[str, object]:
    """What the figures depend on, without a name or a path."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str | None:
    """The CPU's model. Hosts may hide its name from a virtual machine, but not its number. None if it is not told."""
    try:
        told = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()]
    except OSError:
        return None
    first = {name.strip(): value.strip() for name, _, value in told}
    return ", ".join(f"{name} {first[name]}" for name in _CPU if name in first) or None


def rows(repetitions: Sequence[Repetition]) -> list[Row]:
    """One row for each thing measured, in the order of measurement."""
    return [_row(name, [each[name] for each in repetitions], repetitions) for name in repetitions[0]]


def _row(name: str, figures: Sequence[Figure], repetitions: Sequence[Repetition]) -> Row:
    cpu = time = None
    if name != DESTINATION:  # its events are calls, so a ratio to decoding would mean nothing
        pairs = [(figure, each[DECODE]) for figure, each in zip(figures, repetitions, strict=True)]
        cpu = Spread.of(figure.cpu_per_thousand / base.cpu_per_thousand for figure, base in pairs)
        time = Spread.of(base.per_second / figure.per_second for figure, base in pairs)
    return Row(
        name=name,
        events=figures[0].events,
        events_per_call=Spread.of(one.events / one.calls for one in figures) if figures[0].calls else None,
        events_per_second=Spread.of(figure.per_second for figure in figures),
        cpu_seconds_per_1000_events=Spread.of(figure.cpu_per_thousand for figure in figures),
        cpu_to_decode_alone=cpu,
        time_to_decode_alone=time,
    )


_HEAD = ("", "events", "events/call", "events/s", "CPU s per 1,000 events", "CPU to decode", "time to decode")


def table(measured: Sequence[Row]) -> str:
    """The rows for people; of several repetitions: median (lowest-highest)."""
    lines = [
        _HEAD,
        *(
            (
                row.name,
                f"{row.events:,}",
                row.events_per_call.text(1) if row.events_per_call else "-",
                row.events_per_second.text(0),
                row.cpu_seconds_per_1000_events.text(4),
                row.cpu_to_decode_alone.text(1) if row.cpu_to_decode_alone else "-",
                row.time_to_decode_alone.text(1) if row.time_to_decode_alone else "-",
            )
            for row in measured
        ),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def as_json(measured: Sequence[Row]) -> list[dict[str, object]]:
    """The rows for programs; a spread is an object of median, low and high."""
    return [
        {name: value._asdict() if isinstance(value, Spread) else value for name, value in row._asdict().items()}
        for row in measured
    ]
