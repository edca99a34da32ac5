"""The lease: how long a process may send for its partitions without word from the group."""

from __future__ import annotations

from worker.live.lease import Lease


class Clock:
    """A clock in seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_turned_too_late_does_not_renew() -> None:
    """The worker must first drop what it held. Only then does `begin` start the next lease."""
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
    """The worker is cut off from the brokers: the group gives its partitions away and cannot tell it."""
    clock = Clock()
    lease = Lease(5, clock)
    for silent in range(6):
        assert not lease.renew()
        assert lease.heard(silent)
        assert lease.holds()
        clock.now += 1
    assert not lease.renew()
    assert not lease.holds(), "the senders must not wait until the loop has noticed"
    assert not lease.heard(6)
    assert not lease.heard(0), "a lease that ran out must not revive: what was held must be dropped first"
    lease.begin()
    assert lease.holds()


def test_the_coordinator_may_be_silent_for_longer_than_the_loop_may_stand_still() -> None:
    """If heartbeats are far apart, none may come within the span in which the loop must turn."""
    lease = Lease(3, Clock(), contact_seconds=5)
    assert lease.heard(4)
    assert lease.holds()
    assert not lease.heard(5.1)
