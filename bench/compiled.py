"""Builds the bench's Go programs into .bench/bin."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench"
_BUILD_SECONDS = 1_200


class NotBuilt(Exception):
    """There is no such program; the message says what to do about it."""


def go() -> str:
    """The Go toolchain's command.

    Raises:
        NotBuilt: there is none.
    """
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if found is None:
        raise NotBuilt("there is no Go: install Go 1.26 or newer (https://go.dev/dl), and have `go` on the path")
    return found


def program(source: Path) -> Path:
    """Builds the program in a folder with a go.mod.

    Raises:
        NotBuilt: there is no Go, or the build failed.
    """
    built = SCRATCH / "bin" / source.name
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(  # noqa: S603 - the Go that the user has installed
            [go(), "build", "-o", str(built), "."],
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{source.name} was not built within {_BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise NotBuilt(f"{source.name} could not be built: {done.stderr[-1000:]}")
    return built
