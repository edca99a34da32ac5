"""The locks fit pyproject.toml. `scripts/lock --check`, which asks the index, says also whether they are complete."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
IMAGE: list[str] = PROJECT["dependencies"] + EXTRAS["otlp"]
WANTED: dict[str, list[str]] = {
    "worker": IMAGE,
    "sandbox": IMAGE + EXTRAS["sandbox"],
    "build": PYPROJECT["build-system"]["requires"],
    "release": PYPROJECT["dependency-groups"]["release"],
}
# One package: its name, its version, its hashes, and below them who wants it.
ENTRY = re.compile(r"^(?P<name>\S+)==(?P<version>[^\s;]+)(?P<rest>.*\n(?:[ ]+.*\n)*)", re.MULTILINE)


def text(lock: str) -> str:
    return (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")


def direct(lock: str) -> set[str]:
    """The packages that are there because pyproject names them; uv gives no reason for those it reads from stdin."""
    entries = ENTRY.finditer(text(lock))
    return {entry["name"] for entry in entries if PROJECT["name"] in entry["rest"] or "via" not in entry["rest"]}


def versions(lock: str) -> dict[str, str]:
    return {entry["name"]: entry["version"] for entry in ENTRY.finditer(text(lock))}


def requirements(lines: Iterable[str]) -> dict[str, Requirement]:
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


@pytest.mark.parametrize("lock", WANTED)
def test_a_lock_holds_what_pyproject_asks_for_and_nothing_that_it_no_longer_does(lock: str) -> None:
    found = versions(lock)
    for name, requirement in requirements(WANTED[lock]).items():
        assert name in found, f"{name} is not in locks/{lock}.txt: run scripts/lock"
        assert requirement.specifier.contains(found[name], prereleases=True), f"{name}: run scripts/lock"
    assert direct(lock) == requirements(WANTED[lock]).keys(), "run scripts/lock"


@pytest.mark.parametrize("lock", WANTED)
def test_each_package_has_hashes_and_no_index_or_path_is_named(lock: str) -> None:
    for entry in ENTRY.finditer(text(lock)):
        assert "--hash=sha256:" in entry["rest"], entry["name"]
    assert not re.search(r"https?:|file:|^--|^-[a-z]|/", re.sub("scripts/lock", "", text(lock)), re.MULTILINE)


def test_worker_and_sandbox_stand_on_the_same_versions() -> None:
    assert versions("worker").items() <= versions("sandbox").items()
