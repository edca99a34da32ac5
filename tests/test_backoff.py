from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from worker.backoff import full_jitter


@given(st.floats(0.01, 10), st.floats(0.01, 300), st.integers(1, 5_000), st.integers())
def test_wait_is_within_the_widening_window(base: float, cap: float, attempts: int, seed: int) -> None:
    wait = full_jitter(base, cap, random.Random(seed))(attempts)
    assert 0 <= wait <= min(cap, base * 2.0 ** min(attempts - 1, 100))


def test_the_whole_window_is_used() -> None:
    """Jitter over a part of it would bring the failures of one moment back together."""
    wait = full_jitter(1, 60, random.Random(1))
    waits = [wait(4) for _ in range(400)]
    assert min(waits) < 0.5
    assert max(waits) > 7.5
    assert 3.5 < sum(waits) / len(waits) < 4.5


def test_a_seed_replays() -> None:
    first, second = (full_jitter(0.5, 30, random.Random(7)) for _ in range(2))
    assert [first(attempts) for attempts in range(1, 20)] == [second(attempts) for attempts in range(1, 20)]
