"""The pages that come with the worker: what to do about each alert, on a bad day, and all else in docs/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

FOLDER: Final = "docs/runbook"
"""Where the runbook is, in the repository and below the status page: what an alert's `runbook_url` begins with."""
INDEX: Final = f"/{FOLDER}/README.md"


@cache
def pages() -> Mapping[str, str]:
    """Their texts, in Markdown, by path. The runbook's folder itself is its README."""
    packaged = files("worker") / "docs"
    # A wheel has them inside the package. A checkout, and an editable install of it, has them beside the package.
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "docs"
    found = dict(_texts(folder, "/docs"))
    return {**found, f"/{FOLDER}/": found[INDEX]}


def _texts(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _texts(each, f"{path}/{each.name}")
        elif each.name.endswith(".md"):
            yield f"{path}/{each.name}", each.read_text(encoding="utf-8")
