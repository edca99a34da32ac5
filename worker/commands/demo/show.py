"""The steps of the demo: start, traffic with faults, drain, stop, proof."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from worker.commands.demo import proof, view
from worker.commands.demo.figures import Figures, look
from worker.commands.demo.proof import Finding
from worker.commands.demo.stage import (
    DEAD_LETTER_TOPIC,
    GROUP,
    TOPIC,
    EmbeddedKafka,
    StageFailed,
    WorkerDied,
    WorkerProcess,
    write_schemas,
)
from worker.commands.demo.traffic import TIER, TIERS, Planned, fold, plan
from worker.sandbox.server import Sandbox
from worker.sandbox.service import Settings

_TOKEN: Final = "demo-token"  # noqa: S105 - the sandbox's own
_TRAFFIC_SECONDS: Final = 9.0
_READY_WITHIN_SECONDS: Final = 30.0
_DONE_WITHIN_SECONDS: Final = 90.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.25

# When each begins, in seconds of traffic; what to say then; and the fault for the sandbox.
_FAULTS: Final[tuple[tuple[float, str, dict[str, object]], ...]] = (
    (
        2.5,
        "Attentive answers 429 to every second call, for 2 s",
        {"match": {"method": "POST", "every": 2}, "status": 429, "seconds": 2},
    ),
    (5.5, "Attentive answers 500 to every call, for 2 s", {"match": {"method": "POST"}, "status": 500, "seconds": 2}),
)


class _Interrupted(Exception):
    """A signal requested a stop."""


def show(*, seed: int, events: int) -> int:
    """Runs the demo. Returns the exit status: 0 all equal, 1 not equal or not finished."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        return _run(seed, events)
    except _Interrupted:
        _say("Interrupted before the proof. Everything is stopped.")
    except WorkerDied as error:
        _say("\n".join([f"{error}. The end of its log:", *(f"  {line}" for line in error.lines)]))
    except StageFailed as error:
        _say(f"{error}.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 1


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    # Only once: the clean-up that follows is bounded, and a second signal would leave it half done.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise _Interrupted


def _say(text: str) -> None:
    click.echo(f"Error: {text}", err=True)


def _run(seed: int, events: int) -> int:
    started = time.monotonic()
    shown = view.choose()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attribute-worker-demo-")))
        write_schemas(directory)
        kafka = EmbeddedKafka()
        sandbox = stack.enter_context(Sandbox(Settings(tokens=(_TOKEN,), enumerations={TIER: TIERS})))
        worker = stack.enter_context(WorkerProcess(directory, _settings(kafka, sandbox, directory)))
        course = _Course(plan(seed, events), kafka, sandbox, worker, shown, started)
        with shown:
            course.note(f"starting an embedded Kafka, a local Attentive and the worker; seed {seed}")
            course.until(lambda figures: figures.state == "running", _READY_WITHIN_SECONDS, "the worker is not ready")
            course.traffic()
            course.until(
                lambda figures: figures.settled, _DONE_WITHIN_SECONDS, "not everything was delivered and committed"
            )
            course.note("all delivered and committed; stopping the worker by SIGTERM")
            findings = course.prove(worker.stop())
    view.conclude(findings, course.summary())
    return 0 if all(finding.ok for finding in findings) else 1


def _settings(kafka: EmbeddedKafka, sandbox: Sandbox, schemas: Path) -> dict[str, str]:
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": TOPIC,
        "WORKER_KAFKA__GROUP_ID": GROUP,
        # Under the classic protocol, the embedded Kafka makes the first member wait 3 s for others.
        "WORKER_KAFKA__PROPERTIES": '{"group.protocol": "consumer"}',
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": DEAD_LETTER_TOPIC,
        "WORKER_SCHEMAS__DIRECTORY": str(schemas),
        "WORKER_ATTENTIVE__BASE_URL": sandbox.url,
        "WORKER_ATTENTIVE__TOKEN": _TOKEN,
        # Shorter than by default, so that there is something to see.
        "WORKER_WINDOW__SECONDS": "1",
        "WORKER_ATTENTIVE__RETRY_MAX_SECONDS": "2",
        "WORKER_ATTENTIVE__PROBE_MAX_SECONDS": "1",
        "WORKER_SHUTDOWN__DRAIN_SECONDS": "5",
        "WORKER_HTTP__HOST": "127.0.0.1",
        "WORKER_HTTP__PORT": "0",
    }


class _Course:
    """The steps of one demo, once everything runs."""

    def __init__(
        self,
        planned: Sequence[Planned],
        kafka: EmbeddedKafka,
        sandbox: Sandbox,
        worker: WorkerProcess,
        shown: view.View,
        started: float,
    ) -> None:
        """`started` is when the demo began, by `time.monotonic`."""
        self._planned = planned
        self._kafka = kafka
        self._sandbox = sandbox
        self._worker = worker
        self._view = shown
        self._started = started
        self._first_call: float | None = None
        self._state = "starting"

    def note(self, text: str) -> None:
        """Shows a line about what happens."""
        self._view.note(self._elapsed(), text)

    def until(self, holds: Callable[[Figures], bool], seconds: float, failure: str) -> None:
        """Looks again and again until `holds` says so.

        Raises:
            StageFailed: It did not within `seconds`.
            WorkerDied: The worker has ended, so it never will.
        """
        deadline = time.monotonic() + seconds
        while not holds(figures := self._look()):
            if time.monotonic() > deadline:
                raise StageFailed(
                    f"{failure} within {seconds:.0f} s; it is {figures.state}, with a lag of {figures.lag:,} events"
                )
            time.sleep(_LOOK_SECONDS)

    def traffic(self) -> None:
        """Produces every event within `_TRAFFIC_SECONDS`, while Attentive has its faults."""
        started = time.monotonic()
        total, produced, looked_at = len(self._planned), 0, 0.0
        self.note(f"producing {total:,} profile changes within {_TRAFFIC_SECONDS:.0f} s")
        self._sandbox.set_faults([{**fault, "after": after} for after, _, fault in _FAULTS])
        news = [(after, text) for after, text, _ in _FAULTS]
        while produced < total:
            elapsed = time.monotonic() - started
            due = min(total, int(total * elapsed / _TRAFFIC_SECONDS))
            self._kafka.produce(self._planned[produced:due])
            produced = due
            while news and news[0][0] <= elapsed:
                self.note(news.pop(0)[1])
            if elapsed >= looked_at + _LOOK_SECONDS:
                looked_at = elapsed
                self._look()
            time.sleep(_TICK_SECONDS)
        self._kafka.flush()
        self.note("all events are produced")

    def prove(self, exit_status: int) -> list[Finding]:
        """Compares what the worker left behind with what was produced. `exit_status` is the worker's."""
        return [
            proof.users(fold(self._planned), proof.state_of(self._sandbox.users())),
            proof.dead_letters(self._kafka.provoked, self._kafka.dead_letters()),
            proof.offsets(len(self._planned), self._kafka.committed()),
            proof.order(self._sandbox.stats()["overlaps"]),
            proof.stop(exit_status),
        ]

    def summary(self) -> list[str]:
        """The demo in two lines."""
        events, calls = len(self._planned), self._sandbox.stats()["requests"]
        became = f"{events:,} events became {calls:,} calls, {events / calls:.1f} events a call"
        return [
            f"{became}, including calls answered with 400, 429 and 500.",
            f"First call after {self._first_call:.1f} s, all done after {self._elapsed():.1f} s.",
        ]

    def _look(self) -> Figures:
        figures = look(
            self._elapsed(),
            len(self._planned),
            self._kafka.acknowledged,
            self._worker.status(),
            self._sandbox.stats(),
            time.time(),
        )
        if self._first_call is None and figures.calls:
            self._first_call = figures.seconds
            self.note("the first call has reached Attentive")
        change = _STATE_CHANGES.get((self._state, figures.state))
        if change is not None:
            self.note(change)
        self._state = figures.state
        self._view.figures(figures)
        return figures

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


# What a change of the worker's state means, by the state before and after.
_STATE_CHANGES: Final = {
    ("starting", "running"): "the worker has joined its group",
    ("running", "throttled"): "the worker slows down",
    ("running", "halted"): "the worker keeps everything, and probes with single calls",
    ("throttled", "halted"): "the worker keeps everything, and probes with single calls",
    ("halted", "throttled"): "a probe got through: the worker speeds up again, step by step",
    ("halted", "running"): "a probe got through: the worker goes on",
    ("throttled", "running"): "the worker is at its full rate again",
}
