from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.backoff import StopRequested, full_jitter, patiently


class NotYet(Exception):
    """The operation fails for a while."""


def fails(times: int, error: Exception) -> Callable[[], str]:
    """An operation that fails `times` times, then succeeds."""
    outcomes = iter([error] * times)

    def ask() -> str:
        for failure in outcomes:
            raise failure
        return "done"

    return ask


def test_an_operation_is_retried_until_it_succeeds() -> None:
    """The wait is asked for the number of attempts so far, and `before_sleep` hears of each failure first."""
    events: list[object] = []
    answer = patiently(
        fails(3, NotYet("no")),
        retry_on=NotYet,
        wait=lambda attempts: attempts * 10.0,
        sleep=events.append,
        before_sleep=lambda error: events.append(str(error)),
    )
    assert answer == "done"
    assert events == ["no", 10.0, "no", 20.0, "no", 30.0]


def test_another_error_is_raised_at_once() -> None:
    with pytest.raises(KeyError):
        patiently(fails(1, KeyError()), retry_on=NotYet, wait=lambda _: 1.0, sleep=lambda _: pytest.fail("slept"))


def test_a_stop_request_ends_it_before_the_next_attempt() -> None:
    """The request comes during a sleep, which returns early: no further attempt is made."""
    requested = False
    attempts = 0

    def ask() -> None:
        nonlocal attempts
        attempts += 1
        raise NotYet

    def sleep(_: float) -> None:
        nonlocal requested
        requested = attempts == 2

    with pytest.raises(StopRequested):
        patiently(ask, retry_on=NotYet, wait=lambda _: 1.0, stop_requested=lambda: requested, sleep=sleep)
    assert attempts == 2


def test_a_stop_request_that_came_before_allows_no_attempt() -> None:
    with pytest.raises(StopRequested):
        patiently(lambda: pytest.fail("asked"), retry_on=NotYet, wait=lambda _: 1.0, stop_requested=lambda: True)


def test_no_attempt_starts_after_the_time_out() -> None:
    """The third wait would outlast it, so there is no third wait, and the last error is raised."""
    slept: list[float] = []
    with pytest.raises(NotYet, match="still not"):
        patiently(
            fails(9, NotYet("still not")),
            retry_on=NotYet,
            wait=lambda attempts: 0.0 if attempts < 3 else 61.0,
            timeout_seconds=60.0,
            sleep=slept.append,
        )
    assert slept == [0.0, 0.0]


@given(st.floats(0.01, 10), st.floats(0.01, 300), st.integers(1, 5_000), st.integers())
def test_wait_is_within_the_widening_window(base: float, cap: float, attempts: int, seed: int) -> None:
    wait = full_jitter(base, cap, random.Random(seed))(attempts)
    assert 0 <= wait <= min(cap, base * 2.0 ** min(attempts - 1, 100))


def test_the_whole_window_is_used() -> None:
    """Jitter over only a part of the window would bring clients that failed together back together."""
    wait = full_jitter(1, 60, random.Random(1))
    waits = [wait(4) for _ in range(400)]
    assert min(waits) < 0.5
    assert max(waits) > 7.5
    assert 3.5 < sum(waits) / len(waits) < 4.5


def test_the_same_seed_gives_the_same_waits() -> None:
    first, second = (full_jitter(0.5, 30, random.Random(7)) for _ in range(2))
    assert [first(attempts) for attempts in range(1, 20)] == [second(attempts) for attempts in range(1, 20)]
