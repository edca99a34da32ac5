"""The rules of this repository: short files and functions, reasons beside exemptions, imports that point inwards."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from worker.settings.table import settings_table, with_table

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60
MODULES = sorted((ROOT / "worker").rglob("*.py"))
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for room in ("bench", "docs", "examples", "helm") for page in (ROOT / room).rglob("*.md")),
    ]
)
# A room is a package or a file directly under worker/. This says what each may import of worker/, besides itself.
OUTER = {"core", "asides", "backoff", "clocks", "collector", "logs", "masking"}
MAY_IMPORT: dict[str, set[str]] = {
    "masking": set(),
    "pages": set(),
    "asides": set(),
    "backoff": set(),
    "clocks": set(),
    "collector": set(),
    "logs": {"masking"},
    "core": set(),
    # These implement the ports of the loop, and know nothing else of it.
    "attentive": {*OUTER, "live.ports"},
    "kafka": {*OUTER, "live.ports"},
    "registry": {*OUTER, "live.ports"},
    "ops": {*OUTER, "pages"},
    "live": {*OUTER, "attentive", "kafka", "registry", "ops"},
    # Bounded jobs over a topic: they use the parts of the worker, without its group.
    "jobs": {*OUTER, "kafka", "live"},
    # Only the pure rules that it validates, so that `config` and `--help` start fast. `kafka.proof` loads librdkafka,
    # and `core.rules.identifiers` phonenumbers: a rule imports them when it needs them.
    "settings": {
        "masking",
        "pages",
        "core.events.mapping",
        "core.rules.identifiers",
        "core.rules.policy",
        "kafka.known",
        "kafka.oauth",
        "kafka.patterns",
        "kafka.proof",
        "kafka.properties",
        "registry.known",
    },
    # The sandbox knows nothing of the worker: if they shared code, they could share a mistake.
    "sandbox": set(),
    "wiring": {*OUTER, "attentive", "kafka", "registry", "ops", "live", "jobs", "settings"},
    "commands": {
        *OUTER,
        *("attentive", "kafka", "registry", "ops", "live", "jobs", "settings", "sandbox", "wiring"),
    },
    # It imports a command by name, when the command is used.
    "cli": set(),
    "__main__": {"cli"},
}
IMPURE = {"asyncio", "logging", "os", "random", "socket", "subprocess", "threading", "time"}
# From the bottom up. `engine` and `intake` stand above them all.
CORE_FLOORS = ("core.avro", "core.rules", "core.events", "core.waiting", "core.letters", "core.delivery")
CORE_VOCABULARY = {"core.model", "core.options", "core.totals", "core.facts"}
CONFLUENT_KAFKA_ALSO_IN = {
    "worker.registry.client",  # the registry's client is a part of confluent-kafka
    "worker.commands.demo.stage",  # the demo's brokers are librdkafka's embedded mock
}
SCRIPTS = sorted([*(ROOT / "scripts").glob("*"), *(ROOT / ".ci").glob("*")])
# Assembled from parts, so that this file does not contain what it searches for.
FOREIGN = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "py" + r"pi\.org", "TO" + "DO", "FIX" + "ME")))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    return [path for path in tracked_paths() if path.is_file()]


def tracked_paths() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)  # noqa: S607 - whichever git the developer uses
    if done.returncode != 0:
        pytest.skip("not a git work tree")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_the_settings_table_is_what_the_code_says() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert settings_table() in page, "docs/settings.md is old: run scripts/settings-table"
    assert with_table(page) == page


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_page_names_settings_that_exist(path: Path) -> None:
    table = cached_table()
    settings = set(re.findall(r"\bWORKER_[A-Z]+__\w*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert {each for each in settings if f"`{each}`" not in table} == set()


@cache
def cached_table() -> str:
    return settings_table()


@cache
def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`: the headings, as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)", path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_readme_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_table("no table here")


def test_no_symbolic_link_is_tracked() -> None:
    """It may lead to a path that only its author's machine has."""
    assert [named(path) for path in tracked_paths() if path.is_symlink()] == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= FILE_LINES_MAX
    for name, lines in contents_of(path).functions:
        assert lines < FUNCTION_LINES_MAX, f"{name} is too long"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in MODULES}


class Contents(NamedTuple):
    imports: set[str]  # every module that a file imports, also within functions
    functions: list[tuple[str, int]]  # how many lines after its first one each has


@cache
def contents_of(path: Path) -> Contents:
    """What the tests ask of a file's syntax. Each process reads a file once, when the first test asks."""
    found = Contents(set(), [])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            found.functions.append((node.name, node.end_lineno - node.lineno))
        elif isinstance(node, ast.Import):
            found.imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{named(path)} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found.imports.update(inner if inner <= FILES.keys() else {node.module, *(inner & FILES.keys())})
    return found


def inner_imports_of(module: str) -> set[str]:
    return (contents_of(FILES[module]).imports & FILES.keys()) - {"worker"}


def within(module: str, homes: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"worker.{home}.") for home in homes)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"worker"}))
def test_a_room_imports_only_what_it_may(module: str) -> None:
    room = room_of(module)
    foreign = {name for name in inner_imports_of(module) if not within(name, {room, *MAY_IMPORT[room]})}
    assert not foreign, f"{module} imports {', '.join(sorted(foreign))}"


def test_there_is_no_import_cycle() -> None:
    rest = {module: inner_imports_of(module) for module in FILES}
    while leaves := [module for module, imports in rest.items() if not imports & rest.keys()]:
        for module in leaves:
            del rest[module]
    assert not rest, f"these are in an import cycle, or import one that is: {', '.join(sorted(rest))}"


@pytest.mark.parametrize("module", sorted(module for module in FILES if within(module, {"core"})))
def test_the_core_imports_only_pure_libraries(module: str) -> None:
    roots = {name.partition(".")[0] for name in contents_of(FILES[module]).imports}
    assert roots <= (sys.stdlib_module_names - IMPURE) | {"fastavro", "phonenumbers", "worker"}


@pytest.mark.parametrize("module", sorted(module for module in FILES if within(module, CORE_FLOORS)))
def test_a_floor_of_the_core_imports_only_floors_below(module: str) -> None:
    """Two exceptions may be imported from every floor: the core's vocabulary, and files that import only the model."""
    floor = next(number for number, home in enumerate(CORE_FLOORS) if within(module, {home}))
    below = {*CORE_FLOORS[: floor + 1], *CORE_VOCABULARY}
    above = {
        name
        for name in inner_imports_of(module)
        if not within(name, below) and inner_imports_of(name) - {"worker.core.model"}
    }
    assert not above, f"{module} imports from above: {', '.join(sorted(above))}"


@pytest.mark.parametrize(
    ("libraries", "home", "exceptions"),
    [
        ({"httpx"}, "attentive.transport", set()),
        ({"httpx2"}, "registry.exchanges", set()),
        ({"confluent_kafka"}, "kafka", CONFLUENT_KAFKA_ALSO_IN),
        ({"tenacity"}, "backoff", set()),
        ({"matplotlib"}, "jobs.plan.picture", set()),
    ],
    ids=["httpx", "httpx2", "confluent_kafka", "tenacity", "matplotlib"],
)
def test_only_one_room_imports_a_client_library(libraries: set[str], home: str, exceptions: set[str]) -> None:
    users = {
        name
        for name, path in FILES.items()
        if {each.partition(".")[0] for each in contents_of(path).imports} & libraries
    }
    assert exceptions <= users, f"these no longer need their exception: {', '.join(sorted(exceptions - users))}"
    others = users - exceptions
    assert all(within(name, {home}) for name in others), f"outside of {home}: {', '.join(sorted(others))}"


def test_every_exemption_gives_its_reason_on_the_line() -> None:
    bare = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?::\s*[A-Z0-9, ]+|\[[\w, -]+\])?\s*$")
    for path in tracked():
        if path.suffix == ".py":
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not bare.search(line), f"{named(path)}:{number} exempts without a reason"


def test_no_file_names_a_path_of_a_machine_a_package_index_or_an_open_task() -> None:
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".avsc", ".yaml", ""}:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not FOREIGN.search(line), f"{named(path)}:{number}"


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_script_parses_and_is_executable(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True, timeout=30)  # noqa: S607 - whichever bash the developer uses
    assert path.name == "environment" or path.stat().st_mode & 0o111
