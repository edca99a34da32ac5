"""Waits between attempts: exponential, with full jitter, so that many failures do not come back at one moment."""

from __future__ import annotations

import random
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, wait_exponential


def full_jitter(base_seconds: float, cap_seconds: float, rng: random.Random | None = None) -> Callable[[int], float]:
    """A function from the attempts so far (1 or more) to the seconds to wait before the next.

    The wait is uniform between 0 and `min(cap_seconds, base_seconds * 2 ** (attempts - 1))`: tenacity's
    `wait_random_exponential`, except that its draw comes from `rng`: tenacity's comes from the global generator, which
    no test can seed for itself.
    """
    source = rng if rng is not None else random.Random()  # noqa: S311 - jitter, not a secret
    ceiling = wait_exponential(multiplier=base_seconds, max=cap_seconds)
    retrying = Retrying()

    def wait(attempts: int) -> float:
        state = RetryCallState(retrying, None, (), {})
        state.attempt_number = attempts
        return source.uniform(0, ceiling(state))

    return wait
