"""What a script installs: the demo only what it needs, with a word on what it does. Python and pip are played."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("demo", "simulate", "environment"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "attribute-worker"):
        (programs / name).write_text(PYTHON)
        (programs / name).chmod(0o755)
    return tmp_path


def run(clone: Path, script: str) -> tuple[str, str]:
    """What pip was asked to install, and what the script said."""
    calls = clone / ".venv/bin/calls"
    calls.unlink(missing_ok=True)
    done = subprocess.run([clone / "scripts" / script], capture_output=True, text=True, check=True, timeout=60)
    asked = [line.split()[-1] for line in calls.read_text().splitlines() if "pip install" in line]
    return " ".join(asked), done.stderr


def test_the_demo_installs_what_it_needs_and_says_so(clone: Path) -> None:
    asked, said = run(clone, "demo")
    assert asked == ".[demo]"
    assert "'demo'" in said
    assert run(clone, "demo") == ("", "")


def test_what_is_installed_for_development_is_enough_for_the_demo_but_not_the_reverse(clone: Path) -> None:
    run(clone, "demo")
    assert run(clone, "simulate")[0] == ".[development]"
    assert run(clone, "demo") == ("", "")
