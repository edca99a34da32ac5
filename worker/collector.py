"""How seldom Python looks for garbage in a process that keeps millions of small objects."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLD: Final = 50_000
"""Allocations between two collections of the youngest objects."""


def settle() -> None:
    """The objects made so far live as long as the process: the collector never scans them again, and comes seldom."""
    gc.freeze()
    gc.set_threshold(_THRESHOLD, *gc.get_threshold()[1:])
