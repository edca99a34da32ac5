"""Runs the real command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


def start(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs it with these settings alone, and waits for its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")} | dict(environ)
    command = [sys.executable, "-m", "worker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
