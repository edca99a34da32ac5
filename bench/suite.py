"""Measures the worker beside its peers, against what it is to reach and against the last committed results.

Example: scripts/bench --only 100:1 --repetitions 3
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

from bench import brokers, comparison, cores, options, reach, report
from bench.compiled import ROOT, SCRATCH
from bench.drawing import draw
from bench.problems import PROBLEMS, text
from bench.results import Results, head
from bench.rows import alone, growing, limited, side_by_side
from bench.stage import Row, Sample, Stage
from tests.support.brokers import real_broker
from tests.support.java import Unavailable

ROWS = (*side_by_side.ROWS, *limited.ROWS, *alone.ROWS, *growing.ROWS)
Measured: TypeAlias = dict[str, list[list[Sample]]]
"""The samples of each repetition, by the name of the row."""
_REPETITIONS = 5
_QUICK_REPETITIONS = 1
_SHOWN = {"date", "commit", "quick"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench. Returns the exit status: 1 if something could not be measured."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        print("\n".join(f"{row.name:24}{row.says}" for row in ROWS))
        return 0
    if asked.show is not None:
        print(_said(asked.show.results, as_json=asked.json))
        return 0
    if asked.draw is not None:
        path = asked.draw.path.with_suffix(".svg")
        draw(asked.draw.results, path)
        print(f"Drawn in {path}", file=sys.stderr)
        return 0
    pinned = cores.pin()
    if not pinned:
        print(
            "There are no two cores to tell apart, so nothing is pinned: figures depend on each other.", file=sys.stderr
        )
    facts = {**head(), **report.machine(), "pinned": pinned, "quick": asked.quick}  # at the start: work may go on
    measured: Measured = {}
    failed = not _all_measured(asked, measured, facts)
    results = Results.of(measured, facts)
    if not results.values:
        return 1
    print(_said(results, as_json=asked.json))
    whole = not (asked.quick or asked.only or failed)
    _keep(results, comparison.RESULTS if whole else SCRATCH)
    return 1 if failed else 0


def _all_measured(asked: argparse.Namespace, measured: Measured, facts: dict[str, object]) -> bool:
    """Measures the rows, notes on which kind of broker, and ends what it started. Returns whether none failed."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)
    rows = [row for row in ROWS if not asked.only or row.name in asked.only]
    repetitions = asked.repetitions or (_QUICK_REPETITIONS if asked.quick else _REPETITIONS)
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            broker = real_broker(directory)
            stack.callback(broker.stop)
            brokers.reach(broker)
            facts["broker"] = brokers.kind(broker)
            stage = Stage(broker, directory, asked.quick)
            done = [_measured(row, stage, repetitions, measured) for row in rows]
    except Unavailable as problem:
        print(f"Error: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        until_now = "what was measured until now is kept" if any(measured.values()) else "nothing was measured yet"
        print(f"Interrupted: {until_now}.", file=sys.stderr)
    else:
        return all(done)
    return False


def _said(results: Results, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(results.as_json(), indent=2)
    parts = [results.about(), results.table()]
    if results.facts["quick"]:
        return "\n\n".join(
            [*parts, "These sizes show only that everything works: they reach no bound, and compare with nothing."]
        )
    parts.append(reach.table(results))
    before = comparison.last_committed()
    if before is not None and before[1] != results:
        changed = comparison.changes(before[1], results)
        unlike = ", ".join(comparison.unlike(before[1], results))
        which = f"; ratios alone, since it is not known to be the same {unlike}" if unlike else ""
        parts.append(f"Since {before[0]}, by more than the noise{which}:")
        parts.append("\n".join(change.text() for change in changed) or "nothing")
    return "\n\n".join(parts)


def _keep(results: Results, folder: Path) -> None:
    """Writes the figures and the plot, beside older ones: to be committed, if all rows were measured whole."""
    folder.mkdir(exist_ok=True)
    path = comparison.new_file(folder, results)
    path.write_text(json.dumps(results.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".svg"))
    print(f"Kept in {path.relative_to(ROOT)} and .svg", file=sys.stderr)


def _measured(row: Row, stage: Stage, repetitions: int, measured: Measured) -> bool:
    """Keeps the repetitions of a row, also those before one that failed. Returns whether none did."""
    done = measured.setdefault(row.name, [])
    started = time.monotonic()
    try:
        for samples in row.repeated(stage, repetitions):
            done.append(samples)
            print(f"{row.name}: repetition {len(done)} after {time.monotonic() - started:.0f} s", file=sys.stderr)
    except PROBLEMS as problem:
        print(f"Error: {row.name}: {text(problem)}", file=sys.stderr)
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    often = f"how often each row is measured: {_REPETITIONS}, with --quick {_QUICK_REPETITIONS}"
    parser.add_argument("--repetitions", type=options.repetitions, metavar="N", help=often)
    parser.add_argument(
        "--only",
        action="append",
        metavar="ROW",
        choices=[row.name for row in ROWS],
        help="measure this row; may be given again (see --list)",
    )
    parser.add_argument("--quick", action="store_true", help="sizes that show only that everything works")
    parser.add_argument("--list", action="store_true", help="name the rows, and measure nothing")
    parser.add_argument("--show", type=_kept, metavar="FILE", help="show results that were kept, and measure nothing")
    parser.add_argument("--draw", type=_kept, metavar="FILE", help="draw such results again, and measure nothing")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    return parser


class Kept(NamedTuple):
    """Results of a run, and the file that holds them."""

    path: Path
    results: Results


def _kept(name: str) -> Kept:
    path = ROOT / name  # from where `Kept in` says it
    try:
        results = Results.read(json.loads(path.read_text(encoding="utf-8")))
        if results.values and results.facts.keys() >= _SHOWN:
            return Kept(path, results)
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise argparse.ArgumentTypeError(f"{name} holds no results of the bench")


if __name__ == "__main__":
    sys.exit(main())
