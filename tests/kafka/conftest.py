from __future__ import annotations

import pytest

from tests.support.brokers import Broker, unique_name

PARTITIONS = 4  # what the mock gives every topic


@pytest.fixture
def topic(broker: Broker) -> str:
    name = unique_name("profile-changes")
    broker.create_topic(name, PARTITIONS)
    return name


@pytest.fixture
def group() -> str:
    return unique_name("group")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark classic rebalances on the mock as slow: they take it several seconds, a real Kafka some hundred ms."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        if parameters is None or parameters.params.get("broker") != "mock":
            continue
        if parameters.params.get("protocol") in {"cooperative", "eager"}:
            item.add_marker(pytest.mark.slow)
