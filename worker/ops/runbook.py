"""The runbook's pages that come with the worker: what to do about each alert."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

FOLDER: Final = "docs/runbook"
"""Where the pages are, in the repository and below the status page: what an alert's `runbook_url` begins with."""


@cache
def pages() -> Mapping[str, str]:
    """Their texts, in Markdown, by path."""
    packaged = files("worker") / "runbook"
    # A wheel has them inside the package. A checkout, and an editable install of it, has them beside the package.
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / FOLDER
    return {
        f"/{FOLDER}/{page.name}": page.read_text(encoding="utf-8")
        for page in folder.iterdir()
        if page.name.endswith(".md")
    }
