"""The house's own rules: files that fit one sitting, reasons beside exemptions, arrows that point inwards."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.settings.table import settings_table, with_table

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60
MODULES = sorted((ROOT / "worker").rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "scripts").glob("*"), *(ROOT / ".ci").glob("*")])
# Assembled, so that this file does not hold what it looks for.
FOREIGN = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "py" + r"pi\.org", "TO" + "DO", "FIX" + "ME")))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)  # noqa: S607 - whichever git the developer uses
    if done.returncode != 0:
        pytest.skip("not a git work tree")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_settings_table_is_what_the_code_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert settings_table() in readme, "README.md's table is old: run scripts/settings-table"
    assert with_table(readme) == readme


def test_a_readme_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_table("no table here")


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@pytest.mark.parametrize("path", sorted((ROOT / "worker" / "core").rglob("*.py")), ids=named)
def test_the_core_imports_only_itself_and_pure_libraries(path: Path) -> None:
    allowed = sys.stdlib_module_names - {
        "asyncio",
        "logging",
        "os",
        "random",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            root = module.partition(".")[0]
            assert root in allowed | {"fastavro", "phonenumbers", "email_validator"} or module.startswith(
                "worker.core"
            ), module


def test_every_exemption_gives_its_reason_on_the_line() -> None:
    bare = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?::\s*[A-Z0-9, ]+|\[[\w, -]+\])?\s*$")
    for path in tracked():
        if path.suffix == ".py":
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not bare.search(line), f"{named(path)}:{number} exempts without a reason"


def test_nothing_names_a_machine_or_waits_for_nobody() -> None:
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".avsc", ".yaml", ""}:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not FOREIGN.search(line), f"{named(path)}:{number}"


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_script_is_sound_and_can_be_started(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True, timeout=30)  # noqa: S607 - whichever bash the developer uses
    assert path.name == "environment" or path.stat().st_mode & 0o111
