"""What is measured side by side: the worker, and the peers that people would write by hand in its place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bench import cores
from bench.compiled import ROOT, SCRATCH, NotBuilt, program
from bench.destination import Counted, Destination
from bench.loads import PARTITIONS
from tests.support.brokers import Broker, unique_name
from tests.support.java import Process
from tests.support.processes import TOKEN, WorkerCommand
from tests.support.profiles import SCHEMA_ID, schema_directory

REQUESTS_PER_SECOND = 10_000  # the most that the settings accept, so that the rate is not the limit
_PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 600


class NotMeasured(Exception):
    """The run did not do what it was to measure; the message says what it did instead."""


@dataclass(frozen=True)
class Bench:
    """Where the contenders run: their broker, their destination, and a folder for what they write."""

    broker: Broker
    destination: Destination
    directory: Path


@dataclass(frozen=True)
class Work:
    """What is to be done: so many events of a topic. `settings` are the worker's own, beside those that it needs."""

    topic: str
    events: int
    window_seconds: float
    settings: Mapping[str, str] = field(default_factory=dict)


class Running(Protocol):
    """A contender's process."""

    @property
    def pid(self) -> int:
        """Of the process itself."""

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""

    def assigned(self) -> float | None:
        """When it was given partitions, in seconds since the epoch; None until then."""

    def finished(self) -> float | None:
        """When all was done that it was to do; None until then."""

    def tail(self) -> str:
        """The end of what it wrote, for the message of a failure."""

    def finish(self, called: Counted) -> None:
        """Ends it in order, after it has finished.

        Raises:
            NotMeasured: it did something else than each event once.
        """

    def kill(self) -> None:
        """Ends it at once."""


class Contender(Protocol):
    """One way of doing the work."""

    @property
    def name(self) -> str:
        """As the report calls it."""

    def start(self, bench: Bench, work: Work) -> Running:
        """Starts it in a new group, on the core for what is measured."""


class Worker:
    """`attribute-worker run`."""

    name = "worker"

    def start(self, bench: Bench, work: Work) -> RunningWorker:
        """As `Contender.start`."""
        return self.join(new_group(bench), bench, work)

    def join(self, group: str, bench: Bench, work: Work) -> RunningWorker:
        """Starts it in this group, which `new_group` has made."""
        with cores.measured():
            command = WorkerCommand(bench.directory / unique_name(group), environment(bench, work, group))
        return RunningWorker(command, work)


def new_group(bench: Bench) -> str:
    """Makes a name, and the dead-letter topic of a group of that name."""
    group = unique_name("worker")
    bench.broker.create_topic(f"{group}.dead-letter", PARTITIONS)
    return group


def environment(bench: Bench, work: Work, group: str) -> dict[str, str]:
    """The settings of a worker."""
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": bench.broker.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": work.topic,
        "WORKER_KAFKA__GROUP_ID": group,
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{group}.dead-letter",
        "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(bench.directory / "schemas")),
        "WORKER_ATTENTIVE__BASE_URL": bench.destination.base_url,
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
        "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
        "WORKER_WINDOW__SECONDS": str(work.window_seconds),
        **work.settings,
    }


class RunningWorker:
    """The worker's process; all is known from its log and its status."""

    def __init__(self, command: WorkerCommand, work: Work) -> None:
        self.command = command
        self._work = work
        self.pid = command.process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.command.ended

    def assigned(self) -> float | None:
        """As `Running.assigned`."""
        gained = (line["timestamp"] for line in self.command.events("assigned") if line["gained"])
        return next((datetime.fromisoformat(each).timestamp() for each in gained), None)

    def finished(self) -> float | None:
        """When the last call was made is for the destination to say: that it has ended is seen some time later."""
        status = self.command.status()
        done = status["totals"]["records"] >= self._work.events and not status["open_entries"]
        return float("inf") if done else None

    def tail(self) -> str:
        """As `Running.tail`."""
        return self.command.log.read_text(errors="replace")[-2000:]

    def finish(self, called: Counted) -> None:
        """As `Running.finish`."""
        totals, events = self.command.status()["totals"], self._work.events
        odd = {
            "records": totals["records"] != events,
            "changes": totals["changes"] != events,
            "calls": totals["calls"] != called.calls,
            "retries": totals["retries"] != 0,
            "dead_letters": any(totals["dead_letters"].values()),
        }
        if any(odd.values()):
            raise NotMeasured(f"of {events} events and {called.calls} calls seen, the worker says {totals}")
        if self.command.stop() != 0:
            raise NotMeasured(f"the worker did not stop in order: {self.tail()}")

    def kill(self) -> None:
        """As `Running.kill`."""
        self.command.kill()


class PythonPeer:
    """A module in `peers/`, in an environment of its own that holds what stands in the text file beside it."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self._module = module

    def start(self, bench: Bench, work: Work) -> RunningPeer:
        """As `Contender.start`."""
        return _started([str(self._python()), "-m", f"bench.peers.{self._module}"], bench, work)

    def prepare(self) -> None:
        """Makes the environment, if it is not there or old.

        Raises:
            NotBuilt: its packages could not be installed.
        """
        wanted = (_PEERS / f"{self._module}.txt").read_text()
        stamp = self._python().parents[1] / "installed"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"Installing what '{self.name}' needs into {stamp.parent.relative_to(ROOT)}", file=sys.stderr)
        install = [str(self._python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        try:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(stamp.parent)],
                [*install, str(_PEERS / f"{self._module}.txt")],
            ):
                subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)  # noqa: S603 - this very Python
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
            raise NotBuilt(f"'{self.name}' could not be installed: {problem}") from None
        stamp.write_text(wanted)

    def _python(self) -> Path:
        return SCRATCH / self._module / "bin" / "python"


class GoPeer:
    """A Go program in a folder of `peers/`."""

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self._source = _PEERS / folder
        self._command: list[str] = []

    def start(self, bench: Bench, work: Work) -> RunningPeer:
        """As `Contender.start`."""
        return _started(self._command, bench, work)

    def prepare(self) -> None:
        """Builds it.

        Raises:
            NotBuilt: there is no Go, or the build failed.
        """
        self._command = [str(program(self._source))]


def _started(command: list[str], bench: Bench, work: Work) -> RunningPeer:
    group = unique_name("peer")
    schema = schema_directory(bench.directory / "schemas") / f"{SCHEMA_ID}.avsc"
    told = {
        "BENCH_BROKERS": bench.broker.bootstrap_servers,
        "BENCH_TOPIC": work.topic,
        "BENCH_GROUP": group,
        "BENCH_URL": bench.destination.base_url,
        "BENCH_WINDOW_SECONDS": str(work.window_seconds),
        "BENCH_EVENTS": str(work.events),
        "BENCH_SCHEMA": str(schema),
        "PYTHONPATH": str(ROOT),
    }
    assignments = [f"{name}={value}" for name, value in told.items()]
    with cores.measured():
        return RunningPeer(Process(["env", *assignments, *command], bench.directory / group))


class RunningPeer:
    """A peer's process. It writes a word and a time: `assigned`, and `done` when the last call was answered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return not self._process.running

    def assigned(self) -> float | None:
        """As `Running.assigned`."""
        return self._said("assigned")

    def finished(self) -> float | None:
        """As `Running.finished`."""
        return self._said("done")

    def tail(self) -> str:
        """As `Running.tail`."""
        return self._process.tail()

    def finish(self, called: Counted) -> None:
        """As `Running.finish`. What it called for is checked by the number of calls, against the load."""
        del called
        self._process.stop()

    def kill(self) -> None:
        """As `Running.kill`."""
        self._process.kill()

    def _said(self, what: str) -> float | None:
        for line in self._process.log.read_text(errors="replace").splitlines():
            word, _, when = line.partition(" ")
            if word == what:
                return float(when)
        return None


CONSUME = PythonPeer("consume + fastavro", "consume")
THREADS = PythonPeer("threads + httpx", "threads")
COROUTINES = PythonPeer("aiokafka + aiohttp", "coroutines")
GO = GoPeer("Go", "go")
PEERS = (CONSUME, THREADS, COROUTINES, GO)
WORKER = Worker()


def prepared() -> list[Contender]:
    """The peers that can be had here."""
    had: list[Contender] = []
    for peer in PEERS:
        try:
            peer.prepare()
        except NotBuilt as problem:
            print(f"'{peer.name}' is left out: {problem}", file=sys.stderr)
        else:
            had.append(peer)
    return had
