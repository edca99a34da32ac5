"""What was not tested, because something that this machine lacks was needed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.support.java import Unavailable

MISSED = pytest.StashKey[dict[str, str]]()
"""Why it is missing, by what it is."""


def absent(config: pytest.Config, required: str, what: str, reason: Unavailable) -> NoReturn:
    """Skip the test, or fail it if the environment demands the real thing."""
    message = f"needs {what}: {reason}"
    if os.environ.get(required) == "1":
        pytest.fail(f"{required}=1, but the test {message}", pytrace=False)
    config.stash.setdefault(MISSED, {})[what] = str(reason)
    pytest.skip(message)
