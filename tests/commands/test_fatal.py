"""Why a command ends at its start: one JSON line where its log is JSON, else a sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.commands.starting import start

pytestmark = pytest.mark.slow

MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://127.0.0.1:1",
    "WORKER_ATTENTIVE__TOKEN": "t",
}
WRONG = {**MINIMAL, "WORKER_WINDOW__SECONDS": "planted", "WORKER_RATE": "1"}
JSON = {"WORKER_LOG__FORMAT": "json"}


def line(stderr: str) -> dict[str, str]:
    (only,) = stderr.splitlines()
    found: dict[str, str] = json.loads(only)
    assert found["timestamp"]
    assert found["instance"].startswith(socket.gethostname())
    assert (found["level"], found["event"]) == ("error", "stopped")
    return found


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["run"], WRONG, "The configuration has 2 errors:"),  # `auto`, and stderr is no terminal
        (["run"], WRONG | JSON, "WORKER_WINDOW__SECONDS"),
        (["run", "--config", "/none.yaml"], MINIMAL, "/none.yaml"),
        (["run", "--windows-seconds", "3"], MINIMAL, "--window-seconds"),
        (["check"], WRONG | JSON, "WORKER_WINDOW__SECONDS"),
        (["config", "--log-format", "json"], {}, "WORKER_KAFKA__BOOTSTRAP_SERVERS"),
        (["rewind"], MINIMAL | JSON, "--to"),
    ],
)
def test_it_is_a_line_of_the_log_where_that_is_json(arguments: list[str], environ: dict[str, str], says: str) -> None:
    done = start(*arguments, environ=environ)
    assert done.returncode == 2, done.stderr
    assert says in line(done.stderr)["error"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_else_it_is_a_sentence(command: str) -> None:
    environ = WRONG | ({"WORKER_LOG__FORMAT": "console"} if command == "run" else {})
    done = start(command, environ=environ)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The configuration has 2 errors:")


def test_an_address_that_is_taken_is_such_a_line_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = start("run", environ=MINIMAL | {"WORKER_HTTP__HOST": "127.0.0.1", "WORKER_HTTP__PORT": port})
    assert done.returncode == 2
    assert port in line(done.stderr)["error"]


def test_a_missing_extra_is_such_a_line_too() -> None:
    code = (
        "import sys\n"
        "sys.modules['starlette'] = None\n"
        "from worker.cli import group\n"
        "group(['sandbox', '--port', '0', '--token', 't'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | JSON, timeout=60
    )
    assert done.returncode == 2
    assert "pip install '.[sandbox]'" in line(done.stderr)["error"]
