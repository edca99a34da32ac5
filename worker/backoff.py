"""Waits between attempts: full jitter, and a loop around an operation that may fail for a while."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, stop_never

Answer = TypeVar("Answer")

_DOUBLINGS_MAX = 64  # past this, every cap is reached, and a float would overflow


class StopRequested(Exception):
    """Somebody asked for the end while an operation was being retried."""


def patiently(
    ask: Callable[[], Answer],
    *,
    retry_on: type[Exception] | tuple[type[Exception], ...],
    wait: Callable[[int], float],
    stop_requested: Callable[[], bool] | None = None,
    timeout_seconds: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
    before_sleep: Callable[[Exception], None] | None = None,
) -> Answer:
    """Calls `ask` again and again until it returns.

    Args:
        ask: The operation. It takes no argument, and must bound its own time.
        retry_on: Exceptions after which the next attempt may succeed. Any other one is raised at once.
        wait: From the number of attempts so far (1 or more) to the seconds before the next one.
        stop_requested: Looked at before each attempt.
        timeout_seconds: No attempt starts later than this after the first one. None: no limit.
        sleep: Waits for so many seconds; it may return early, for example when a stop is requested.
        before_sleep: Called after each failed attempt, for a log line or a status.

    Raises:
        StopRequested: `stop_requested` said so.
        Exception: The last one of `ask`, when the time is over or when it is not in `retry_on`.

    Example:
        >>> patiently(lambda: partition_counts(admin, topics), retry_on=TopicsUnavailable, wait=lambda _: 1.0)
    """

    def check(_: RetryCallState) -> None:
        if stop_requested is not None and stop_requested():
            raise StopRequested

    def pause(seconds: float) -> None:
        sleep(seconds)

    def failed(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if before_sleep is not None and isinstance(error, Exception):
            before_sleep(error)

    retrying = Retrying(
        retry=retry_if_exception_type(retry_on),
        wait=lambda state: wait(state.attempt_number),
        stop=stop_never if timeout_seconds is None else stop_before_delay(timeout_seconds),
        sleep=pause,
        before=check,
        before_sleep=failed,
        reraise=True,
    )
    return retrying(ask)


def full_jitter(base_seconds: float, cap_seconds: float, rng: random.Random | None = None) -> Callable[[int], float]:
    """A function from the attempts so far (1 or more) to the seconds before the next one.

    The wait is uniform between 0 and `min(cap_seconds, base_seconds * 2 ** (attempts - 1))`, so that many operations
    that failed at one moment do not come back at one moment. Not tenacity's `wait_random_exponential`: that one draws
    from the global generator, which a test cannot seed for itself.
    """
    source = rng if rng is not None else random.Random()  # noqa: S311 - jitter, not a secret

    def wait(attempts: int) -> float:
        return source.uniform(0, min(cap_seconds, math.ldexp(base_seconds, min(attempts - 1, _DOUBLINGS_MAX))))

    return wait
