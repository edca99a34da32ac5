"""Marks for some of a test's many cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow_after(number: int, cases: Iterable[object]) -> list[Any]:
    """All cases, for `parametrize`: `scripts/test --fast` takes only the first few, as the rest is more of the same."""
    return [pytest.param(case, marks=[pytest.mark.slow] if index >= number else []) for index, case in enumerate(cases)]
