"""Containers of the image under test, run by podman as a strict cluster runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Self

from tests.support.brokers import unique_name

# By itself podman checks the health with systemd's timers, and asks for limits that it may not be allowed to raise.
_RUN = (
    *("run", "--pull", "never", "--network", "host", "--no-healthcheck"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
# No file can be written, not even in /tmp.
_STRICT = (
    *("--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def podman(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """One command, whether it succeeds or not."""
    command = ["podman", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


def configuration(image: str) -> dict[str, Any]:
    """The image's own: user, entry point, labels, health check."""
    done = podman("image", "inspect", image)
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    return {**found["Config"], "Healthcheck": found.get("Healthcheck")}


def python(image: str, program: str, *, strict: bool = True, user: Sequence[str] = ()) -> str:
    """What a program prints that the image's Python runs. `user` are options that name another one than the image's."""
    options = [*(_STRICT if strict else ()), *user, "--rm", "--entrypoint", "python3"]
    done = podman(*_RUN, *options, image, "-c", program)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Container:
    """A container in the background. A context manager: it is removed at the end, running or not."""

    def __init__(self, image: str, environment: Mapping[str, str], options: Sequence[str] = ()) -> None:
        self._name = unique_name("attribute-worker")
        settings = [option for name, value in environment.items() for option in ("--env", f"{name}={value}")]
        done = podman(*_RUN, *_STRICT, "--detach", "--name", self._name, *settings, *options, image)
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        podman("rm", "--force", self._name)

    def run(self, *command: str) -> int:
        """Runs a command in the container. Returns its exit status; podman's own is 126 or more."""
        return podman("exec", self._name, *command).returncode

    def terminate(self) -> bool:
        """SIGTERM to its first process. Returns whether it still ran."""
        return podman("kill", "--signal", "TERM", self._name).returncode == 0

    def exit_status(self, seconds: float = 60) -> int:
        """Waits for its end."""
        return int(podman("wait", self._name, seconds=seconds).stdout)

    def log(self) -> str:
        done = podman("logs", self._name)
        return done.stdout + done.stderr
