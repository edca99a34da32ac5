"""Users whose calls fail or hang, many in a row in the log: the others behind them are delivered all the same."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.core.traffic import LATENCY_SECONDS, PER_SECOND, Traffic
from worker.core.model import Call, Failure, Reply

pytestmark = pytest.mark.slow  # minutes or megabytes of virtual life each

TIMEOUT_SECONDS = 10.0
TIMED_OUT = Reply(None, Failure.TIMEOUT)


def number(call: Call) -> int:
    return int(str(call.user.phone)[5:])


def traffic_with(bad: Callable[[int], bool], reply: Reply) -> Traffic:
    """Traffic in which some users always get this reply. A time-out takes as long as it says."""

    def is_bad(call: Call) -> bool:
        return bad(number(call))

    return Traffic(
        lambda call, _: reply if is_bad(call) else Reply(200),
        latency_seconds=lambda call: TIMEOUT_SECONDS if reply is TIMED_OUT and is_bad(call) else LATENCY_SECONDS,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def delivered_per_second(traffic: Traffic, seconds: float) -> float:
    before = len(traffic.delivered)
    traffic.run(seconds)
    return (len(traffic.delivered) - before) / seconds


@pytest.mark.parametrize("one_in", [100, 20])
def test_new_users_whose_calls_hang_leave_senders_to_the_others(one_in: int) -> None:
    traffic = traffic_with(lambda user: user % one_in == 0, TIMED_OUT)
    traffic.run(120.0)
    assert delivered_per_second(traffic, 60.0) >= 0.6 * PER_SECOND * (1 - 1 / one_in)


def test_a_run_of_users_whose_calls_hang() -> None:
    traffic = traffic_with(lambda user: 600 <= user < 650, TIMED_OUT)
    traffic.run(15.0)
    assert delivered_per_second(traffic, 45.0) >= 0.6 * PER_SECOND


@pytest.mark.parametrize("reply", [Reply(500), Reply(429), Reply(403), Reply(409)], ids=lambda reply: reply.status)
def test_a_run_of_a_thousand_users_that_fail(reply: Reply) -> None:
    """For 17 seconds nobody else changes. Then only good users do, and they stand behind the run."""
    traffic = traffic_with(lambda user: 600 <= user < 1_600, reply)
    traffic.run(1_600 / PER_SECOND + 10.0)
    assert delivered_per_second(traffic, 50.0) >= 0.6 * PER_SECOND


def test_users_that_hang_beside_users_that_halt_hold_nobody_else() -> None:
    """One in twenty is always answered 403, one in twenty hangs.

    A single 403 amid successes must not close the gate: its probe may be one that hangs.
    """

    def share(user: int) -> float:
        return random.Random(user).random()

    def answer(call: Call, _: float) -> Reply:
        part = share(number(call))
        return Reply(403) if part < 0.05 else Reply(None, Failure.TIMEOUT) if part < 0.1 else Reply(200)

    def latency(call: Call) -> float:
        return 10.0 if 0.05 <= share(number(call)) < 0.1 else LATENCY_SECONDS

    traffic = Traffic(answer, 40, latency_seconds=latency, timeout_seconds=10.0)
    traffic.run(200.0)
    good = sum(share(user) >= 0.1 for user in range(traffic.users))
    assert len(traffic.delivered) >= 0.7 * good
