"""Brokers and registries for all tests, and a loud notice of what was not tested because a real one was missing."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.absent import MISSED, absent
from tests.support.brokers import Broker, LocalBroker, MockBroker, RunningBroker, real_broker
from tests.support.java import Unavailable
from tests.support.lossy_broker import LossyBroker
from tests.support.registry import Registry

# Hypothesis' deadline of 200 ms an example fails sound tests on a busy machine. All else keeps its defaults; so in CI
# Hypothesis runs the same examples each time.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")
# What `scripts/test --fast` selects: a quarter of the examples. A test that wants more or fewer than others says so as
# a multiple of the profile's number.
settings.register_profile("quick", settings.get_profile("patient"), max_examples=25)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of a file that need a server in one process, where several processes share the tests.

    Each process has servers of its own. These tests mostly wait, so two of them at once take little more time than one.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.get_closest_marker("kafka") or item.get_closest_marker("registry"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_collection_finish() -> None:
    """Leaves the thousands of tests and their modules out of the search for garbage.

    A test that measures memory searches often.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A real Kafka, one for the session: use topic and group names of your own."""
    try:
        broker = real_broker(tmp_path_factory.mktemp("kafka"))
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "real Kafka", reason)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[MockBroker]:
    """librdkafka's embedded mock, one for the session."""
    broker = MockBroker()
    yield broker
    broker.stop()


@pytest.fixture(params=["mock", pytest.param("real", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The mock, then the real broker: a test that takes this runs on both."""
    found: Broker = request.getfixturevalue(f"{request.param}_kafka")
    return found


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A local broker for this test alone, not started yet. The test may kill, freeze and restart it."""
    try:
        broker = LocalBroker(tmp_path_factory.mktemp("own-kafka"))
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "local Kafka", reason)
    yield broker
    broker.stop()


@pytest.fixture
def lossy_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LossyBroker]:
    """A local broker for this test alone, that runs. The test may lose requests on their way to it."""
    try:
        broker = LossyBroker(tmp_path_factory.mktemp("lossy-kafka"))
        broker.start()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "local Kafka", reason)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A Confluent-compatible registry, one for the session: use subjects of your own."""
    try:
        registry = Registry(tmp_path_factory.mktemp("registry"))
        registry.start()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_REGISTRY", "a schema registry", reason)
    yield registry
    registry.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not tested: a green run on the mock alone must not look like one on the real thing."""
    for what, reason in config.stash.get(MISSED, {}).items():
        terminalreporter.section(f"NOT TESTED: whatever needs {what}", sep="!", yellow=True, bold=True)
        terminalreporter.line(reason)
        for report in terminalreporter.stats.get("skipped", []):
            if what in str(report.longrepr):
                terminalreporter.line(f"  {report.nodeid}")
