"""The loop, with the real clock."""

from __future__ import annotations

import pytest

from tests.live.rig import Rig
from worker.core.facts import DrainOutcome
from worker.live.loop import Loop


def test_a_turn_that_raises_leaves_the_group_before_the_process_ends() -> None:
    """Otherwise its partitions would have no owner until the session time-out, after each crash of a crash loop."""
    rig = Rig()
    rig.brokers.raises = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: False, lambda: None)
    assert rig.brokers.closed
    assert rig.brokers.commits == []


def test_the_error_of_a_turn_is_raised_even_if_leaving_the_group_fails_too() -> None:
    rig = Rig()
    rig.brokers.raises = RuntimeError("a fatal error")
    rig.brokers.close_raises = OSError("cannot leave")
    with pytest.raises(RuntimeError, match="a fatal error"):
        Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: False, lambda: None)


def test_a_signal_drains_and_leaves_the_group() -> None:
    rig = Rig()
    said = []
    drain = Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: True, lambda: said.append("stopping"))
    assert drain.outcome is DrainOutcome.DONE
    assert said == ["stopping"]
    assert rig.brokers.closed
