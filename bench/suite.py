"""Measures the worker beside its peers, against what it is to reach and against the last committed results.

Example: scripts/bench --only 100:1 --repetitions 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from bench import comparison, cores, reach, report
from bench.compiled import ROOT, SCRATCH, NotBuilt
from bench.contenders import NotMeasured
from bench.drawing import draw
from bench.results import Results, head
from bench.rows import alone, growing, limited, side_by_side
from bench.stage import Row, Sample, Stage
from tests.support.brokers import real_broker
from tests.support.java import Unavailable

ROWS = (*side_by_side.ROWS, *limited.ROWS, *alone.ROWS, *growing.ROWS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench. Returns the exit status: 1 if something could not be measured."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{row.name:24}{row.says}" for row in ROWS))
        return 0
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    pinned = cores.pin()
    if not pinned:
        print(
            "There are no two cores to tell apart, so nothing is pinned: figures depend on each other.", file=sys.stderr
        )
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        try:
            broker = real_broker(directory)
        except Unavailable as problem:
            print(f"Error: {problem}", file=sys.stderr)
            return 1
        stack.callback(broker.stop)
        stage = Stage(broker, directory, options.quick)
        measured: dict[str, list[list[Sample]]] = {}
        failed = [row.name for row in rows if not _measured(row, stage, options.repetitions, measured)]
    results = Results.of(measured, {**head(), **report.machine(), "pinned": pinned, "quick": options.quick})
    print(json.dumps(results.as_json(), indent=2) if options.json else _said(results))
    whole = not (options.quick or options.only or failed)
    _keep(results, comparison.RESULTS if whole else SCRATCH)
    return 1 if failed else 0


def _said(results: Results) -> str:
    parts = [results.table(), reach.table(results)]
    before = comparison.last_committed()
    if before is not None and before[1].facts["quick"] == results.facts["quick"]:
        changed = comparison.changes(before[1], results)
        parts.append(f"Since {before[0]}, by more than the noise:")
        parts.append("\n".join(change.text() for change in changed) or "nothing")
    return "\n\n".join(parts)


def _keep(results: Results, folder: Path) -> None:
    """Writes the figures and the plot: to be committed, if all rows were measured whole."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{results.facts['date']}-{results.facts['commit']}.json"
    path.write_text(json.dumps(results.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".svg"))
    print(f"Kept in {path.relative_to(ROOT)} and .svg", file=sys.stderr)


def _measured(row: Row, stage: Stage, repetitions: int, measured: dict[str, list[list[Sample]]]) -> bool:
    """Keeps the repetitions of a row, also those before one that failed. Returns whether none did."""
    done = measured.setdefault(row.name, [])
    started = time.monotonic()
    try:
        for samples in row.repeated(stage, repetitions):
            done.append(samples)
            print(f"{row.name}: repetition {len(done)} after {time.monotonic() - started:.0f} s", file=sys.stderr)
    except (NotMeasured, NotBuilt, AssertionError, RuntimeError, httpx.HTTPError) as problem:
        print(f"Error: {row.name}: {problem}", file=sys.stderr)
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="how often each row is measured")
    parser.add_argument(
        "--only",
        action="append",
        metavar="ROW",
        choices=[row.name for row in ROWS],
        help="measure this row; may be given again (see --list)",
    )
    parser.add_argument("--quick", action="store_true", help="sizes that show only that everything works")
    parser.add_argument("--list", action="store_true", help="name the rows, and measure nothing")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
