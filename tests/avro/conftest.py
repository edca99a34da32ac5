"""One JVM with Apache Avro for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.absent import absent
from tests.support.java import Unavailable
from tests.support.java_avro import JavaAvro


@pytest.fixture(scope="session")
def java_avro(request: pytest.FixtureRequest) -> Iterator[JavaAvro]:
    """Apache Avro for Java."""
    try:
        java = JavaAvro()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_JDK", "a JDK with Avro", reason)
    yield java
    java.close()
