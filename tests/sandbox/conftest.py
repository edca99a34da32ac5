from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.sandbox.rig import PLAIN, Rig
from worker.sandbox.server import Sandbox
from worker.sandbox.service import Settings


@pytest.fixture(scope="session")
def plain_rig() -> Iterator[Rig]:
    rig = Rig(Sandbox(PLAIN))
    with rig.sandbox, rig.client:
        yield rig


@pytest.fixture
def rig(plain_rig: Rig) -> Rig:
    """A sandbox without a rate limit, reset to its state after the start."""
    plain_rig.sandbox.reset()
    return plain_rig


@pytest.fixture
def serve() -> Iterator[Callable[[Settings], Rig]]:
    """Serves a new sandbox with the given settings."""
    with ExitStack() as stack:

        def start(settings: Settings) -> Rig:
            rig = Rig(stack.enter_context(Sandbox(settings)))
            stack.enter_context(rig.client)
            return rig

        yield start
