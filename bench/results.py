"""The figures of a run: medians and spreads, as a table, as JSON, and read again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from bench.commits import git
from bench.compiled import ROOT
from bench.report import Spread
from bench.stage import Measure, Sample


class Key(NamedTuple):
    """What a figure is of."""

    row: str
    who: str
    measure: Measure


Values: TypeAlias = Mapping[Key, Sequence[float]]
"""Each figure's values, one for each repetition."""


@dataclass(frozen=True)
class Results:
    """All figures of one run, and what they depend on."""

    facts: Mapping[str, object]
    values: Values

    @classmethod
    def of(cls, measured: Mapping[str, Sequence[Sequence[Sample]]], facts: Mapping[str, object]) -> Results:
        """From what the rows have yielded."""
        values: dict[Key, list[float]] = {}
        for row, repetitions in measured.items():
            for samples in repetitions:
                for who, measure, value in samples:
                    values.setdefault(Key(row, who, measure), []).append(value)
        return cls(facts, values)

    @classmethod
    def read(cls, stored: Mapping[str, object]) -> Results:
        """From JSON, as `as_json` gives it."""
        figures = stored["figures"]
        assert isinstance(figures, list)  # noqa: S101 - so it was written
        return cls(
            {name: value for name, value in stored.items() if name != "figures"},
            {
                Key(each["row"], each["who"], Measure(each["measure"], each["higher_is_better"], each["is_ratio"])): (
                    each["values"]
                )
                for each in figures
            },
        )

    def as_json(self) -> dict[str, object]:
        """For programs, and to be kept."""
        return {
            **self.facts,
            "figures": [
                {
                    "row": key.row,
                    "who": key.who,
                    "measure": key.measure.name,
                    "higher_is_better": key.measure.higher_is_better,
                    "is_ratio": key.measure.is_ratio,
                    "median": rounded(Spread.of(values).median),
                    "values": [rounded(value) for value in values],
                }
                for key, values in self.values.items()
            ],
        }

    def about(self) -> str:
        """What the figures are of and how the tables are to be read, in two lines."""
        facts = {**self.facts, "repetitions": max(map(len, self.values.values()))}
        told = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items())
        how = (
            "Median (lowest-highest). 'to its' is the worker's figure divided by that of the line, within a repetition."
        )
        return f"{told}\n{how}"

    def table(self) -> str:
        """For people, each row of the bench by itself: median (lowest-highest)."""
        rows: dict[str, dict[str, dict[str, str]]] = {}
        for (row, who, measure), each in self.values.items():
            rows.setdefault(row, {}).setdefault(who, {})[measure.name] = shown(Spread.of(each))
        return "\n\n".join(columns(_lines(row, found)) for row, found in rows.items())

    def spread(self, key: Key) -> Spread | None:
        """One figure; None where it was not measured."""
        return Spread.of(self.values[key]) if key in self.values else None


def _lines(row: str, found: Mapping[str, Mapping[str, str]]) -> list[Sequence[str]]:
    measures = list(dict.fromkeys(name for figures in found.values() for name in figures))
    return [(row, *measures), *((who, *(each.get(name, "-") for name in measures)) for who, each in found.items())]


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, as a table in Markdown that is also easy to read as it is."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *rest = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def shown(spread: Spread) -> str:
    """In about three digits."""
    if spread.median == 0:
        return spread.text(0)
    return spread.text(max(0, 3 - len(str(int(abs(spread.median))))) if abs(spread.median) >= 1 else 4)


def rounded(value: float) -> float:
    """To five digits: what lies behind them is noise."""
    return float(f"{value:.5g}")


def head(root: Path = ROOT) -> dict[str, object]:
    """When it was, and of which commit; `changed` where the working tree's code differs from it."""
    code = ("worker", "bench", ":!bench/results")  # where earlier results may wait to be committed
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": git("rev-parse", "--short=10", "HEAD", root=root) or "none",
        "changed": bool(git("status", "--porcelain", "--", *code, root=root)),
    }
