"""The workers of a run: processes that faults kill, freeze and stop, and that are restarted as by an orchestrator."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.chaos.judge import Life
from tests.chaos.plan import SLOT_COUNT
from tests.support.processes import WorkerCommand

RESTART_SECONDS = 1.0
"""A worker that ended by itself is started again after this."""


@dataclass(slots=True)
class _Slot:
    command: WorkerCommand | None = None
    name: str = ""
    start_at: float | None = None  # by the monotonic clock
    stopping: bool = False
    frozen_at: float | None = None


@dataclass(slots=True)
class Fleet:
    """Slots, each for one worker process at a time. Only one thread may use it; call `turn` often.

    A worker process is called a life: a slot sees several of them.

    Attributes:
        directory: where each life keeps its log and its token file.
        environment: gives a worker's settings by slot.
        lives: every process so far, by name.
        ended: those that ended without being asked, with their status.
        cut: those that a SIGTERM ended with work left.
        stopped: those that drained after a SIGTERM.
    """

    directory: Path
    environment: Callable[[int], Mapping[str, str]]
    slots: list[_Slot] = field(default_factory=lambda: [_Slot() for _ in range(SLOT_COUNT)])
    lives: dict[str, Life] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    generation: int = 0
    _rolling: list[int] = field(default_factory=list)

    def start(self, slot: int) -> None:
        """Starts a new life in an empty slot."""
        there = self.slots[slot]
        assert there.command is None
        name = f"w{len(self.lives)}"
        directory = self.directory / name
        directory.mkdir(parents=True)
        there.name, there.start_at, there.stopping, there.frozen_at = name, None, False, None
        self.lives[name] = Life(name)
        self._write_token(name)
        environment = {**self.environment(slot), "WORKER_ATTENTIVE__TOKEN_FILE": str(self._token_file(name))}
        there.command = WorkerCommand(directory, environment)

    def join(self, slot: int) -> None:
        """Starts a worker, if the slot is empty."""
        if self.slots[slot].command is None:
            self.start(slot)

    def new_token(self, generation: int) -> None:
        """Writes the token of this generation into every worker's token file."""
        self.generation = generation
        for slot in self.slots:
            if slot.command is not None:
                self._write_token(slot.name)

    def kill(self, slot: int, restart_seconds: float) -> None:
        """SIGKILL; a new life starts after `restart_seconds`."""
        there = self.slots[slot]
        if there.command is not None:
            self._thaw(there)
            there.command.kill()
            there.command = None
        there.start_at = time.monotonic() + restart_seconds

    def freeze(self, slot: int) -> None:
        there = self.slots[slot]
        if there.command is not None:
            there.command.signal(signal.SIGSTOP)
            there.frozen_at = time.time()

    def thaw(self, slot: int) -> None:
        self._thaw(self.slots[slot])

    def stop(self, slot: int, *, restart: bool) -> None:
        """SIGTERM, without waiting; with `restart`, a new life starts when it has ended."""
        there = self.slots[slot]
        if there.command is not None and not there.stopping:
            there.command.signal(signal.SIGTERM)
            there.stopping = True
        there.start_at = 0.0 if restart else None

    def roll(self) -> None:
        """Stops every running worker, one after the other, and starts a new one for each."""
        self._rolling = [number for number, slot in enumerate(self.slots) if slot.command is not None]

    def turn(self) -> None:
        """Notes which workers have ended, starts those that are due, and moves a rolling restart on."""
        for number, slot in enumerate(self.slots):
            if slot.command is not None and (status := slot.command.process.poll()) is not None:
                self._note_end(slot, status)
                slot.command = None
            if slot.command is None and slot.start_at is not None and time.monotonic() >= slot.start_at:
                self.start(number)
        if self._rolling and not any(slot.stopping or slot.start_at is not None for slot in self.slots):
            number = self._rolling.pop(0)
            if self.slots[number].command is not None:  # the worker in the spare slot may have left meanwhile
                self.stop(number, restart=True)

    @property
    def rolling(self) -> bool:
        return bool(self._rolling) or any(slot.stopping for slot in self.slots)

    def stop_all(self, seconds: float) -> None:
        """SIGTERM for all, and waits. A worker that has not ended in time is killed, and listed in `ended`."""
        running = [(number, slot) for number, slot in enumerate(self.slots) if slot.command is not None]
        for number, slot in running:
            self._thaw(slot)
            self.stop(number, restart=False)
        deadline = time.monotonic() + seconds
        for _, slot in running:
            assert slot.command is not None
            while slot.command.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            status = slot.command.process.poll()
            if status is None:
                self.ended.append(f"{slot.name} did not stop within {seconds:g} s")
                slot.command.kill()
            else:
                self._note_end(slot, status)
            slot.command = None

    def kill_all(self) -> None:
        """Kills whatever is left, so that no process outlives the run."""
        for slot in self.slots:
            if slot.command is not None:
                slot.command.kill()
                slot.command = None

    def read_logs(self) -> None:
        """Reads from every life's log when it was assigned partitions."""
        for name, life in self.lives.items():
            life.assigned_at = _assignments(self.directory / name / "stderr")

    def _note_end(self, slot: _Slot, status: int) -> None:
        self._thaw(slot)
        if slot.stopping:
            (self.cut if status else self.stopped).append(slot.name)
        else:
            self.ended.append(f"{slot.name} with status {status}")
            slot.start_at = time.monotonic() + RESTART_SECONDS
        slot.stopping = False

    def _thaw(self, slot: _Slot) -> None:
        if slot.command is not None and slot.frozen_at is not None:
            self.lives[slot.name].frozen.append((slot.frozen_at, time.time()))
            slot.frozen_at = None
            slot.command.signal(signal.SIGCONT)

    def _token_file(self, name: str) -> Path:
        return self.directory / name / "token"

    def _write_token(self, name: str) -> None:
        written = self._token_file(name).with_suffix(".new")
        written.write_text(f"chaos.{name}.{self.generation}")
        written.rename(self._token_file(name))


def _assignments(log: Path) -> list[float]:
    lines = [json.loads(line) for line in log.read_text(errors="replace").split("\n")[:-1] if '"assigned"' in line]
    return [
        datetime.fromisoformat(line["timestamp"]).timestamp()
        for line in lines
        if line["event"] == "assigned" and line["gained"]
    ]
