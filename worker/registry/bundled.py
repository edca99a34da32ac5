"""The schemas that come with the worker."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def bundled(name: str) -> dict[str, Any]:
    """One of the worker's own schemas, as `json.loads` gives it: `profile_changed`, `dead_letter` or `receipt`.

    Raises:
        FileNotFoundError: There is no such schema.
    """
    packaged = files("worker") / "schemas" / f"{name}.avsc"
    # A wheel has them inside the package. A checkout, and an editable install of it, has them beside the package.
    source = packaged if packaged.is_file() else Path(__file__).parents[2] / "schemas" / f"{name}.avsc"
    schema: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return schema
