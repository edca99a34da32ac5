"""The Helms. Where they cannot be fetched, these tests are skipped, loudly; REQUIRE_HELM=1 makes that a failure."""

from __future__ import annotations

import pytest

from tests.helm.charts import Helm
from tests.helm.tools import RELEASES, Release, fetched
from tests.support.absent import absent
from tests.support.java import Unavailable


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gives all tests of the API server to one process, where several share the tests: each would start its own."""
    for item in items:
        if config.pluginmanager.hasplugin("xdist") and item.path.name == "test_cluster.py":
            item.add_marker(pytest.mark.xdist_group("kubernetes"))


def _helm(config: pytest.Config, release: Release) -> Helm:
    try:
        return Helm(release.helm, fetched(release) / "helm")
    except Unavailable as reason:
        absent(config, "REQUIRE_HELM", "Helm", reason)


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: f"helm-{release.helm}")
def each_helm(request: pytest.FixtureRequest) -> Helm:
    """Helm 3, then Helm 4: a test that takes this runs by both."""
    return _helm(request.config, request.param)


@pytest.fixture(scope="session")
def helms(request: pytest.FixtureRequest) -> tuple[Helm, ...]:
    """Both, to compare them."""
    return tuple(_helm(request.config, release) for release in RELEASES)


@pytest.fixture(scope="session")
def helm(helms: tuple[Helm, ...]) -> Helm:
    """The newest one, where one is enough: all render the same objects."""
    return helms[-1]
