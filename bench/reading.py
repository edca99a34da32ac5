"""How fast a replay reads a topic, beside consuming and decoding the same records alone, in one run.

Example: .venv/bin/python -m bench.reading --repetitions 5
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

import fastavro
import structlog
from confluent_kafka import Consumer, TopicPartition

from bench import brokers, options, report
from bench.contenders import NotMeasured
from bench.decoding import new_decoder, settle_memory
from bench.figures import Figure
from bench.loads import PARTITIONS, Load, fill, hundred_to_one, one_to_one
from bench.problems import told
from bench.report import Spread
from tests.support.brokers import Broker, MockBroker, real_broker
from tests.support.profiles import PROFILE_CHANGED, schema_directory
from worker import logs
from worker.core.avro.framing import HEADER_BYTES
from worker.core.model import Partition, Record
from worker.core.replay.progress import Progress
from worker.core.replay.scope import Offsets, Scope
from worker.jobs.diary import Begun
from worker.kafka.properties import consumer_properties
from worker.ops.job_board import JobBoard
from worker.settings.load import load as load_settings
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.replay import ReplayTask
from worker.wiring.replay import replay as build

DECODE = "consume + decode"
FASTAVRO = "consume + fastavro"
REPLAY = "replay reads"
_AT_ONCE = 500
_WAIT_SECONDS = 10.0

_Run: TypeAlias = Callable[[Settings, str, int], Figure]
"""From the settings, a topic and how many records it has."""


def _consumed(each: Callable[[bytes | None], object], settings: Settings, topic: str, events: int) -> Figure:
    """As short a loop as one can write: takes all records, and does the same with the value of each."""
    started, cpu_started = time.perf_counter(), time.process_time()
    consumer = Consumer(consumer_properties({"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": topic}))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    done = 0
    while done < events:
        messages = consumer.consume(_AT_ONCE, 0.1)
        if not messages and time.perf_counter() - started > _WAIT_SECONDS and not done:
            raise NotMeasured("nothing came")
        for message in messages:
            if message.error() is None:
                each(message.value())
                done += 1
    figure = _figure(events, started, cpu_started)
    consumer.close()
    return figure


def _decoded(settings: Settings, topic: str, events: int) -> Figure:
    decoder, partition = new_decoder(), Partition(topic, 0)
    return _consumed(lambda value: decoder.decode(Record(partition, 0, 0, None, value)), settings, topic, events)


def _read_by_fastavro(settings: Settings, topic: str, events: int) -> Figure:
    schema = fastavro.parse_schema(PROFILE_CHANGED)

    def each(value: bytes | None) -> object:
        return fastavro.schemaless_reader(io.BytesIO((value or b"")[HEADER_BYTES:]), schema, None)

    return _consumed(each, settings, topic, events)


def _replayed(settings: Settings, topic: str, events: int) -> Figure:
    """A dry run: it reads the whole topic into its index, and makes no call."""
    each = {Partition(topic, number): 0 for number in range(PARTITIONS)}
    log = structlog.get_logger()
    admin, board = parts.admin(settings, log), JobBoard("replay", "bench")
    ranges = {partition: Offsets(0, events) for partition in each}
    begun = Begun(ranges, "", Progress())
    task = ReplayTask("bench", begun, anew=True, scope=Scope(ranges), starts=each, rate=None, dry=True, say=print)
    with build(settings, task, parts.identity(settings), admin, None, board, log) as built:
        started, cpu_started = time.perf_counter(), time.process_time()
        built.job.run(lambda: False)
        figure = _figure(events, started, cpu_started)
        found = built.replay.tally.changes
    if found != events:
        raise NotMeasured(f"of {events} records a replay found {found}")
    return figure


def _figure(events: int, started: float, cpu_started: float) -> Figure:
    return Figure(events, time.perf_counter() - started, time.process_time() - cpu_started)


_ROWS: dict[str, _Run] = {DECODE: _decoded, FASTAVRO: _read_by_fastavro, REPLAY: _replayed}


class Row(NamedTuple):
    """One way of reading a load. The ratio is taken inside each repetition, before any median."""

    load: str
    name: str
    events_per_second: Spread
    speed_to_decode: Spread
    cpu_to_decode: Spread

    def as_json(self) -> dict[str, object]:
        """For programs; a spread is an object of median, low and high."""
        return {name: each._asdict() if isinstance(each, Spread) else each for name, each in self._asdict().items()}


def _rows(load: Load, repetitions: Sequence[report.Repetition]) -> list[Row]:
    return [
        Row(
            load.name,
            name,
            Spread.of(each[name].per_second for each in repetitions),
            Spread.of(each[name].per_second / each[DECODE].per_second for each in repetitions),
            Spread.of(each[name].cpu_seconds / each[DECODE].cpu_seconds for each in repetitions),
        )
        for name in _ROWS
    ]


def _repeated(broker: Broker, load: Load, directory: Path, repetitions: int) -> list[report.Repetition]:
    """Measures all rows in turn, so that a busy spell of the machine does not fall on one of them alone."""
    topic = fill(broker, load)
    environment = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": topic,
        "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(directory / "schemas")),
        "WORKER_ATTENTIVE__TOKEN": "none",
    }
    settings = load_settings(None, {}, environment).settings
    settle_memory()
    done: list[report.Repetition] = []
    for number in range(1, repetitions + 1):
        print(f"{load.name}: repetition {number} of {repetitions}", file=sys.stderr)
        figures = {}
        for name, run in _ROWS.items():
            gc.collect()
            figures[name] = run(settings, topic, len(load.records))
        done.append(figures)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench. Returns the exit status: 1 if a run did not read what it was to read."""
    parser = argparse.ArgumentParser(prog="python -m bench.reading", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=options.repetitions, default=5, help="how often all is measured, in turn")
    parser.add_argument("--events", type=options.many, default=120_000, help="records of each load")
    parser.add_argument("--mock", action="store_true", help="use the embedded mock even if a real Kafka is available")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    asked = parser.parse_args(arguments)
    logs.configure("error", "console", "bench")
    return told(lambda: _measure(asked))


def _measure(asked: argparse.Namespace) -> int:
    rows: list[Row] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        broker = MockBroker() if asked.mock else real_broker(directory)
        stack.callback(broker.stop)
        brokers.reach(broker)
        for load in (one_to_one(asked.events), hundred_to_one(asked.events)):
            rows += _rows(load, _repeated(broker, load, directory, asked.repetitions))
    facts = {**report.machine(), "broker": brokers.kind(broker), "repetitions": asked.repetitions}
    if asked.json:
        print(json.dumps({**facts, "rows": [row.as_json() for row in rows]}, indent=2))
    else:
        print(f"{asked.repetitions} repetitions in turn: median (lowest-highest)\n")
        print(f"{'':8}{'':20}{'events/s':>28}{'speed to decode':>24}{'CPU to decode':>24}")
        for row in rows:
            speed, cpu = row.speed_to_decode.text(2), row.cpu_to_decode.text(2)
            print(f"{row.load:8}{row.name:20}{row.events_per_second.text(0):>28}{speed:>24}{cpu:>24}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
