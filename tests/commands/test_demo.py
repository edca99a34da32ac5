"""The demo as a user starts it, in a pipe: run to the end, interrupted, and with its worker killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Started:
    """A running demo. Its output is a pipe, and its temporary files go to the folder `scratch`."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self.process = process
        self._scratch = scratch

    def worker(self) -> int:
        """The pid of the worker it started, once it has joined its group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "has joined its group" in line:
                break
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        [pid] = [int(child) for child in children.split()]
        return pid

    def end(self) -> tuple[int, str, str]:
        """The exit status, and the rest of its output."""
        stdout, stderr = self.process.communicate(timeout=60)
        assert not list(self._scratch.iterdir()), "it left files behind"
        return self.process.returncode, stdout, stderr


@contextmanager
def demo(scratch: Path, *arguments: str) -> Iterator[Started]:
    # These settings would make the worker fail: the demo must not pass them on to it.
    foreign = {"WORKER_KAFKA__GROUP_ID": "", "WORKER_NONSENSE": "1", "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", *arguments],
        env={**os.environ, **foreign},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Started(process, scratch)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_proves_the_final_state_and_every_dead_letter(tmp_path: Path) -> None:
    with demo(tmp_path, "--events", "3000", "--seed", "11") as started:
        worker = started.worker()
        status, stdout, stderr = started.end()
    assert status == 0, stdout + stderr
    assert stderr == ""
    assert "\x1b" not in stdout
    assert re.search(r"^ok +users +all 200 have exactly the state", stdout, re.MULTILINE), stdout
    letters = re.search(r"^ok +dead letters +(\d+), .*rejected (\d+)", stdout, re.MULTILINE)
    assert letters is not None
    assert int(letters[1]) > int(letters[2]) > 0
    assert "3,000 of 3,000 events committed" in stdout
    assert "SIGTERM, then exit status 0" in stdout
    became = re.search(r"3,000 events became ([\d,]+) calls", stdout)
    assert became is not None
    assert int(became[1].replace(",", "")) < 1_500
    assert "probes with single calls" in stdout
    assert not alive(worker)


def test_an_interrupt_stops_everything_and_the_exit_status_is_1(tmp_path: Path) -> None:
    with demo(tmp_path) as started:
        worker = started.worker()
        started.process.send_signal(signal.SIGINT)
        time_asked = time.monotonic()
        status, _, stderr = started.end()
    assert status == 1
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    assert not alive(worker)
    assert time.monotonic() - time_asked < 20


def test_a_worker_that_dies_ends_the_demo_with_the_end_of_its_log(tmp_path: Path) -> None:
    with demo(tmp_path) as started:
        os.kill(started.worker(), signal.SIGKILL)
        status, _, stderr = started.end()
    assert status == 1
    assert "the worker ended by itself, with status -9" in stderr
    assert '"event": "serving"' in stderr
    assert "Traceback" not in stderr


def test_its_help_works_without_the_extra() -> None:
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'httptools', 'rich'): sys.modules[name] = None\n"
        "from worker.cli import group\n"
        "group(['demo', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "attribute-worker demo --seed 7" in done.stdout
