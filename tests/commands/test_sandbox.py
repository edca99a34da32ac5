"""The `sandbox` command, as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from worker.commands.sandbox import sandbox

COMMAND = (sys.executable, "-c", "from worker.commands.sandbox import sandbox; sandbox()")


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts the command on a free port; returns the process and the URL that it printed."""
    with ExitStack() as stack:

        def run(*options: str) -> tuple[subprocess.Popen[str], str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, "--port", "0", "--token", "token-of-the-test", *options],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().rstrip("\n")

        yield run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_url_and_serves_and_a_signal_ends_it_with_0(
    start: Callable[..., tuple[subprocess.Popen[str], str]], number: signal.Signals
) -> None:
    process, url = start("--log-requests")
    headers = {"Authorization": "Bearer token-of-the-test"}
    assert httpx.get(f"{url}/me", headers=headers).status_code == 200
    httpx.get(f"{url}/attributes/custom", headers=headers, params={"email": "ann@example.com"})
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    ready, *logged = err.splitlines()
    assert ready == f"sandbox: serving on {url}, limit: 150 requests per second"
    assert len(logged) == 2
    assert "GET /v1/attributes/custom 200" in logged[1]
    assert "token-of-the-test" not in err
    assert "ann" not in err


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("0.0.0.0", True),  # noqa: S104 - that is the point
        ("127.0.0.1", False),
        pytest.param("localhost", False, marks=pytest.mark.slow),
    ],
)
def test_an_address_that_others_reach_is_warned_of(
    start: Callable[..., tuple[subprocess.Popen[str], str]], host: str, *, warned: bool
) -> None:
    process, _ = start("--host", host)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert ("no loopback address" in err and "/_sandbox" in err) == warned


def test_faults_and_enumerations_come_from_files(
    start: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    faults, sizes = tmp_path / "faults.yaml", tmp_path / "sizes.json"
    faults.write_text("- match: {path: /v1/me}\n  status: 503\n  times: 1\n")
    sizes.write_text(json.dumps({"Size": ["S", "L"]}))
    _, url = start("--faults", str(faults), "--enumerations", str(sizes), "--limit", "0", "--errors", "empty")
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer token-of-the-test"}) as client:
        assert [client.get("/me").status_code for _ in range(2)] == [503, 200]
        document = {"user": {"email": "ann@example.com"}, "properties": {"Size": "M"}}
        refused = client.post("/attributes/custom", json=document)
        assert (refused.status_code, refused.content) == (400, b"")
        assert "x-ratelimit-limit" not in refused.headers


def run(*options: str) -> Result:
    return CliRunner().invoke(sandbox, ["--port", "0", "--token", "token-of-the-test", *options])


@pytest.mark.parametrize(
    ("option", "content", "problem"),
    [
        ("--faults", "- {status: 503}\n- {statsu: 500}", "fault 2: unknown key 'statsu'; did you mean 'status'?"),
        ("--faults", "{", "neither YAML nor JSON"),
        ("--enumerations", "Size: [S, No]", "'Size': values must be strings (put them in quotes)"),
        ("--enumerations", "Size: S", "'Size': must be a list"),
        ("--enumerations", "7: [S]", "'7': a name must be a string"),
        ("--enumerations", "[]", "must be a mapping"),
    ],
)
def test_a_file_that_cannot_be_understood_is_bad_usage(tmp_path: Path, option: str, content: str, problem: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(content)
    result = run(option, str(path))
    assert result.exit_code == 2
    assert f"{option}: {path}" in result.stderr
    assert problem in result.stderr


def test_a_file_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    result = run("--faults", str(tmp_path / "missing.yaml"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_a_token_is_required() -> None:
    assert CliRunner().invoke(sandbox, ["--port", "0"]).exit_code == 2


def test_a_port_that_is_taken_is_reported_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*COMMAND, "--port", str(taken.getsockname()[1]), "--token", "t"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (result.returncode, result.stdout) == (1, "")
    assert "choose another --port" in result.stderr


def test_its_help_works_without_the_extra() -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(('starlette', 'uvicorn', 'httptools')));"
    command = [sys.executable, "-c", block + COMMAND[2]]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False, timeout=20)
    assert shown.returncode == 0
    assert "attribute-worker sandbox --port" in shown.stdout
