"""The lease: how long a process may speak for its partitions, without anybody's word that they are gone."""

from __future__ import annotations

from worker.live.lease import Lease


class Clock:
    """Moved by hand; seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_turned_too_late_does_not_renew() -> None:
    """Whatever was held must go first; the next lease then begins."""
    clock = Clock()
    lease = Lease(5, clock)
    clock.now += 5.1
    assert not lease.holds()
    assert lease.renew() > 5
    assert not lease.holds()
    lease.begin()
    assert lease.holds()
    assert not lease.renew()


def test_a_loop_that_turns_without_hearing_the_group_ends_the_lease() -> None:
    """Cut off from the brokers: the group gives the partitions away, and cannot tell."""
    clock = Clock()
    lease = Lease(5, clock)
    for silent in range(6):
        assert not lease.renew()
        assert lease.heard(silent)
        assert lease.holds()
        clock.now += 1
    assert not lease.renew()
    assert not lease.holds(), "the senders do not wait for the loop to find out"
    assert not lease.heard(6)
    assert not lease.heard(0), "what is held must go first"
    lease.begin()
    assert lease.holds()


def test_contact_may_have_a_span_of_its_own() -> None:
    """Where heartbeats are far apart, the loop's span would be too short for one to come."""
    lease = Lease(3, Clock(), contact_seconds=5)
    assert lease.heard(4)
    assert lease.holds()
    assert not lease.heard(5.1)
