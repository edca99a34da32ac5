"""The schemas that come with the worker."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def bundled(name: str) -> dict[str, Any]:
    """A schema of the worker's own, as `json.loads` gives it: `profile_changed` or `dead_letter`.

    Raises:
        FileNotFoundError: There is no such schema.
    """
    packaged = files("worker") / "schemas" / f"{name}.avsc"
    # A wheel holds them inside the package; a checkout, and an editable install of it, beside it.
    source = packaged if packaged.is_file() else Path(__file__).parents[2] / "schemas" / f"{name}.avsc"
    schema: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return schema
