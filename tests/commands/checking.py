"""Runs `attribute-worker check` as a user does, and reads what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

TOKEN = "the-right-token"
WRONG_TOKEN = "a-wrong-token"


def run(settings: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return subprocess.run(
        [sys.executable, "-m", "worker", "check", *arguments],
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def findings(settings: Mapping[str, str], exit_status: int) -> list[dict[str, Any]]:
    done = run(settings, "--json")
    assert done.returncode == exit_status, done.stdout + done.stderr
    assert done.stderr == ""
    for secret in (TOKEN, WRONG_TOKEN):
        assert secret not in done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def bad(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The findings that are not ok, by check; at most one for each check."""
    by_check = {finding["check"]: finding for finding in found if finding["level"] != "ok"}
    assert len(by_check) == sum(finding["level"] != "ok" for finding in found)
    return by_check
