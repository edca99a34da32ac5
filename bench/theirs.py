"""The peers: what people would write by hand in the worker's place, each with what it needs in a place of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import cores
from bench.compiled import ROOT, SCRATCH, NotBuilt, program
from bench.contenders import Bench, Contender, Work
from bench.destination import Counted
from tests.support.brokers import unique_name
from tests.support.java import Process
from tests.support.profiles import SCHEMA_ID, schema_directory

_PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 600


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

    def check(self) -> None:
        """As `Running.check`: it tells nothing of that."""

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
BENTHOS = GoPeer("Benthos", "benthos")
PEERS = (CONSUME, THREADS, COROUTINES, GO, BENTHOS)


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
