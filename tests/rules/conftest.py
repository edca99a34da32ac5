"""promtool. Where there is none, these tests are skipped, loudly; REQUIRE_PROMETHEUS=1 makes that a failure."""

from __future__ import annotations

import pytest

from tests.rules.promql import Promtool
from tests.support.absent import absent
from tests.support.java import Unavailable


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Promtool:
    try:
        return Promtool.found()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_PROMETHEUS", "promtool", reason)
