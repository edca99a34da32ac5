"""Measures the real worker's events a second and CPU seconds per 1,000 events, beside decoding alone in the same run.

Example: .venv/bin/python -m bench.throughput --repetitions 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import worker
from bench import brokers, options, report
from bench.contenders import Bench, Work
from bench.decoding import as_read, decode, decode_and_preflight, settle_memory
from bench.destination import Destination
from bench.figures import Figure
from bench.loads import Load, fill, hundred_to_one, one_to_one
from bench.ours import WORKER
from bench.problems import told
from bench.report import Repetition
from bench.running import to_the_end
from tests.support.brokers import Broker, MockBroker, real_broker
from tests.support.java import Unavailable

_ALONE_CALLS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench. Returns the exit status: 1 if a run did not do what it was to measure."""
    asked = _parser().parse_args(arguments)
    return told(lambda: _measure(asked))


def _measure(asked: argparse.Namespace) -> int:
    loads = [one_to_one(asked.one_to_one), hundred_to_one(asked.hundred_to_one)]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        broker = MockBroker() if asked.mock else _broker(directory)
        stack.callback(broker.stop)
        brokers.reach(broker)
        destination = Destination(directory)
        stack.callback(destination.stop)
        bench = Bench(broker, destination, directory)
        facts = {"worker": worker.__version__, **report.machine(), "broker": brokers.kind(broker)}
        if asked.profile is not None:
            return _profile(bench, loads, asked.profile)
        repetitions = _repeat(bench, loads, asked.repetitions)
    measured = report.rows(repetitions)
    if asked.json:
        whole = {**facts, "repetitions": asked.repetitions, "rows": report.as_json(measured)}
        print(json.dumps(whole, indent=2))
    else:
        print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()))
        print(f"{asked.repetitions} repetitions in turn: median (lowest-highest)\n")
        print(report.table(measured))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=options.repetitions, default=3, help="how often all is measured, in turn")
    parser.add_argument(
        "--one-to-one", type=options.many, default=4_000, metavar="EVENTS", help="events of the 1:1 load"
    )
    parser.add_argument(
        "--hundred-to-one",
        type=options.many,
        default=60_000,
        metavar="EVENTS",
        help="events of the 100:1 load; with a multiple of 2,000 every user has a hundred",
    )
    parser.add_argument("--mock", action="store_true", help="use the embedded mock even if a real Kafka is available")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    parser.add_argument(
        "--profile",
        type=_folder,
        metavar="FOLDER",
        help="measure nothing; run py-spy on the worker once under each load, and write collapsed stacks to FOLDER",
    )
    return parser


def _folder(name: str) -> Path:
    path = Path(name)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{name} is no folder")
    return path


def _broker(directory: Path) -> Broker:
    try:
        return real_broker(directory)
    except Unavailable as reason:
        print(f"No real Kafka, so the embedded mock takes its place: {reason}", file=sys.stderr)
        return MockBroker()


def _repeat(bench: Bench, loads: Sequence[Load], repetitions: int) -> list[Repetition]:
    """Measures everything in turn, so that a busy spell of the machine does not fall on one of them alone."""
    topics = {load.name: fill(bench.broker, load) for load in loads}
    records = as_read(loads)
    settle_memory()
    done: list[Repetition] = []
    for number in range(1, repetitions + 1):
        print(f"repetition {number} of {repetitions}", file=sys.stderr)
        each = {report.DECODE: decode(records), report.PREFLIGHT: decode_and_preflight(records)}
        for load in loads:
            each[f"worker {load.name}"] = _run(bench, load, topics[load.name])
        each[report.DESTINATION] = bench.destination.alone(_ALONE_CALLS)
        done.append(each)
    return done


def _run(bench: Bench, load: Load, topic: str, profile: Path | None = None) -> Figure:
    work = Work(topic, len(load.records), load.window_seconds)
    return to_the_end(WORKER, bench, work, waits=load.window_seconds, profile=profile)


def _profile(bench: Bench, loads: Sequence[Load], folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for load in loads:
        output = folder / f"{load.name.replace(':', '-to-')}.stacks"
        _run(bench, load, fill(bench.broker, load), output)
        print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
