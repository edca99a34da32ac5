"""The image as it was built: who it runs as, what is in it, and the worker in it from the start to SIGTERM."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import worker
from tests.image.containers import Container, configuration, python
from tests.support.brokers import RunningBroker, unique_name
from tests.support.ports import reserved_port
from tests.support.processes import TOKEN, SandboxCommand, until
from tests.support.profiles import changes, fold, produce, schema_directory

pytestmark = pytest.mark.image

# With an unreadable file over each of them, no shell can run.
SHELLS = [option for path in ("/usr/bin/dash", "/usr/bin/bash") for option in ("--volume", f"/dev/null:{path}:ro")]
TOOLS = ("pip", "pip3", "cc", "gcc", "c++", "make", "ld", "uv", "hatchling")
MODULES = ("pip", "ensurepip", "setuptools", "wheel", "hatchling", "pytest")


@pytest.fixture(scope="session")
def image() -> str:
    return os.environ["IMAGE"]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxCommand]:
    sandbox = SandboxCommand(tmp_path / "sandbox")
    yield sandbox
    sandbox.kill()


def final_state(sandbox: SandboxCommand) -> dict[str, object]:
    return {user["user"]["phone"]: user["attributes"] for user in sandbox.users()}


def environment(bootstrap_servers: str, base_url: str, port: int) -> dict[str, str]:
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "WORKER_KAFKA__TOPICS": unique_name("profiles"),
        "WORKER_KAFKA__GROUP_ID": unique_name("group"),
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": unique_name("letters"),
        "WORKER_SCHEMAS__DIRECTORY": "/schemas",
        "WORKER_ATTENTIVE__BASE_URL": base_url,
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
        "WORKER_WINDOW__SECONDS": "1",
        "WORKER_HTTP__PORT": str(port),
    }


def schemas(directory: Path) -> list[str]:
    """Options that mount the schemas where `environment` looks for them."""
    return ["--volume", f"{schema_directory(directory / 'schemas')}:/schemas:ro"]


def test_it_runs_as_nobody_in_particular_on_a_python_that_is_current(image: str) -> None:
    program = "import json, os, sys; print(json.dumps([os.getuid(), os.getgid(), *sys.version_info[:2]]))"
    said = json.loads(python(image, program))
    assert said[:2] == [10001, 10001]
    assert tuple(said[2:]) >= (3, 13)
    assert configuration(image)["User"] == "10001:10001"


def test_any_user_may_run_it(image: str) -> None:
    """Some clusters give each namespace user ids of its own."""
    assert (
        python(image, "import os, worker.wiring.worker; print(os.getuid())", user=("--user", "4242")).strip() == "4242"
    )


def test_its_user_may_change_no_program_and_no_library(image: str) -> None:
    """Not even where the root file system is not read-only."""
    program = """
import os, sys
writable = [path for top in (sys.prefix, "/etc", "/usr") for path, _, _ in os.walk(top) if os.access(path, os.W_OK)]
print(writable)
"""
    assert python(image, program, strict=False).strip() == "[]"


def test_it_holds_neither_pip_nor_a_tool_that_builds(image: str) -> None:
    program = f"""
import importlib.util, pathlib, shutil
print([name for name in {TOOLS} if shutil.which(name)], [name for name in {MODULES} if importlib.util.find_spec(name)],
      [str(path) for path in pathlib.Path("/usr").rglob("pip-*.whl")])
"""
    assert python(image, program).strip() == "[] [] []"


def test_its_labels_say_what_it_is(image: str) -> None:
    labels = configuration(image)["Labels"]
    assert labels["org.opencontainers.image.title"] == "attentive-attribute-worker"
    assert labels["org.opencontainers.image.version"] == worker.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"] != "unknown"
    assert labels["org.opencontainers.image.base.name"]


def test_it_starts_without_a_shell(image: str) -> None:
    """The entry point and the health check are lists, not lines for a shell."""
    found = configuration(image)
    assert found["Entrypoint"] == ["attribute-worker"]
    assert found["Cmd"] == ["run"]
    assert found["Healthcheck"]["Test"][:2] == ["CMD", "python3"]


@pytest.mark.kafka
def test_a_change_reaches_the_destination_and_sigterm_ends_it_in_order(
    image: str, real_kafka: RunningBroker, sandbox: SandboxCommand, tmp_path: Path
) -> None:
    """Not ready, then ready; a call for each user; healthy from inside; SIGTERM reaches it; exit status 0."""
    port = reserved_port()
    url = f"http://127.0.0.1:{port}"
    settings = environment(real_kafka.bootstrap_servers, sandbox.base_url, port)
    topic = settings["WORKER_KAFKA__TOPICS"]
    made = list(changes(5, events=60, users=20))
    with Container(image, settings, [*schemas(tmp_path), *SHELLS]) as container:
        until(lambda: httpx.get(f"{url}/livez").status_code == 200, 40, "alive")
        assert httpx.get(f"{url}/readyz").status_code == 503, "its topic does not exist yet"
        real_kafka.create_topic(topic, 3)
        produce(real_kafka.bootstrap_servers, topic, made)
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200, 60, "ready")
        until(lambda: final_state(sandbox) == fold(made), 60, "delivered")
        assert container.run(*configuration(image)["Healthcheck"]["Test"][1:]) == 0
        assert container.run("sh", "-c", "true") >= 126, "a shell ran, so this did not show that none is needed"
        assert container.terminate()
        assert container.exit_status() == 0, container.log()
        assert '"event": "stopped"' in container.log()


def test_the_health_check_fails_where_nothing_answers(image: str) -> None:
    check = configuration(image)["Healthcheck"]["Test"][1:]
    done = python(image, f"import subprocess; print(subprocess.run({check}, capture_output=True).returncode)")
    assert done.strip() == "1"


def test_without_brokers_it_waits_and_is_not_ready(image: str, tmp_path: Path) -> None:
    port = reserved_port()
    settings = environment(f"127.0.0.1:{reserved_port()}", "http://127.0.0.1:1/v1", port)
    with Container(image, settings, schemas(tmp_path)) as container:
        until(lambda: '"event": "waiting"' in container.log(), 60, "says what it waits for")
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
        assert container.terminate()
        assert container.exit_status() == 0, container.log()


def test_a_sigterm_during_the_start_is_not_lost(image: str, tmp_path: Path) -> None:
    """It is the container's first process, for which the kernel drops signals without a handler."""
    settings = environment(f"127.0.0.1:{reserved_port()}", "http://127.0.0.1:1/v1", reserved_port())
    with Container(image, settings, schemas(tmp_path)) as container:
        until(lambda: not container.terminate(), 30, "it ends")
        assert container.exit_status() == 1
        assert "serving" not in container.log(), "it was heard only after the start"
