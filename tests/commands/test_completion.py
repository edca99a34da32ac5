"""Shell completion: the script that the installed command prints, and what it completes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/completion.md").read_text(encoding="utf-8")
SHELLS = ("bash", "zsh", "fish")
PROGRAM = Path(sys.executable).with_name("attribute-worker")


def program(**variables: str) -> str:
    """What the installed command prints."""
    if not PROGRAM.exists():
        pytest.skip("the package is not installed here")
    environment = {**os.environ, **variables}
    return subprocess.run([PROGRAM], capture_output=True, text=True, check=True, env=environment, timeout=60).stdout


def completed(shell: str, *words: str) -> str:
    """What the script of a shell would be told for the last of these words."""
    line, last = ["attribute-worker", *words], words[-1]
    # fish gives the word itself, the others its place.
    place = last if shell == "fish" else str(len(words))
    variables = {"COMP_WORDS": " ".join(line), "COMP_CWORD": place}
    return program(**variables, _ATTRIBUTE_WORKER_COMPLETE=f"{shell}_complete")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_page_has_the_line_of_each_shell_and_it_prints_a_script(shell: str) -> None:
    (block,) = re.findall(rf"```{shell}\n(.*?)```", PAGE, re.DOTALL)
    assert f"_ATTRIBUTE_WORKER_COMPLETE={shell}_source attribute-worker" in block
    script = program(_ATTRIBUTE_WORKER_COMPLETE=f"{shell}_source")
    assert f"_ATTRIBUTE_WORKER_COMPLETE={shell}_complete" in script
    assert "attribute-worker" in script


@pytest.mark.parametrize("shell", SHELLS)
def test_a_beginning_gives_the_command(shell: str) -> None:
    told = completed(shell, "rep")
    assert "replay" in told
    assert "run" not in told.split()
    assert "verify" not in told


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_the_options_of_a_command_are_completed(shell: str) -> None:
    told = completed(shell, "replay", "--dry")
    assert "--dry-run" in told
    assert "--restart" not in told


def test_names_are_completed_without_loading_a_command() -> None:
    code = (
        "import sys; from worker.cli import group; import click\n"
        "print([item.value for item in group.shell_complete(click.Context(group), 'dead')])\n"
        "print([name for name in sys.modules if name.startswith('worker.commands')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["['dead-letters']", "[]"]


def test_a_real_bash_completes(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    script = tmp_path / "complete"
    script.write_text(program(_ATTRIBUTE_WORKER_COMPLETE="bash_source"))
    words = "COMP_WORDS=(attribute-worker rep); COMP_CWORD=1"
    ask = f"source {script}; {words}; _attribute_worker_completion attribute-worker; printf '%s' \"${{COMPREPLY[@]}}\""
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", ask], capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert (done.stdout, done.stderr) == ("replay", "")
