"""The rate's promises: it never exceeds its share over any span of time, and it obeys the destination's headers."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.delivery.rate import BURST_SECONDS, FLOOR, FORGOTTEN_AFTER, HEADROOM, HEADROOM_SEEN, Rate
from worker.core.model import Failure, Reply

START = 50.0
STEPS = st.one_of(st.floats(0.0, 0.05), st.floats(0.0, 5.0), st.just(3_600.0))


def rate(limit: float = 100.0, share: float = 1.0) -> Rate:
    made = Rate(limit, START)
    made.share(share, START)
    return made


def spent(made: Rate, now: float, wanted: int = 10_000) -> int:
    """Makes calls until the rate stops them, at most `wanted`; returns how many."""
    for made_so_far in range(wanted):
        if not made.ready(now):
            return made_so_far
        made.spend()
    return wanted


def spent_over(made: Rate, start: float, seconds: float, step: float = 0.01) -> int:
    return sum(spent(made, start + number * step) for number in range(1, round(seconds / step) + 1))


@dataclass(frozen=True)
class Moment:
    """After so many seconds, these things happen; then up to `wanted` calls are made."""

    seconds: float
    wanted: int
    share: float | None = None
    reply: Reply | None = None
    throttled: bool = False


MOMENTS = st.lists(
    st.builds(
        Moment,
        STEPS,
        st.integers(0, 60),
        share=st.none() | st.floats(0.0, 1.0),
        reply=st.none()
        | st.builds(
            Reply,
            st.just(200),
            rate_limit=st.none() | st.integers(-1, 400),
            rate_remaining=st.none() | st.integers(-1, 200),
        ),
        throttled=st.booleans(),
    ),
    max_size=40,
)


@given(st.sampled_from([0.5, 5.0, 150.0, 2_000.0]), MOMENTS)
def test_no_span_of_time_has_more_calls_than_the_full_limit_allows(limit: float, moments: list[Moment]) -> None:
    """Whatever shares, headers and 429s come: at most limit * headroom * T + one burst in any span T."""
    made = rate(limit)
    now = START
    calls: list[tuple[float, int]] = []
    for moment in moments:
        now += moment.seconds
        if moment.share is not None:
            made.share(moment.share, now)
        if moment.reply is not None:
            made.observe(moment.reply, now)
        if moment.throttled:
            made.throttled(now)
        calls.append((now, spent(made, now, moment.wanted)))
    burst = max(1.0, limit * HEADROOM_SEEN * BURST_SECONDS)
    for first in range(len(calls)):
        total = 0
        for at, count in calls[first:]:
            total += count
            assert total <= limit * HEADROOM_SEEN * (at - calls[first][0]) + burst + 1e-6


@given(st.sampled_from([0.3, 7.0, 150.0]), st.floats(0.01, 1.0), MOMENTS)
def test_the_rate_is_ready_at_the_instant_that_next_ready_names(
    limit: float, share: float, moments: list[Moment]
) -> None:
    made = rate(limit, share)
    now = START
    for moment in moments:
        now += moment.seconds
        if moment.throttled:
            made.throttled(now)
        spent(made, now, moment.wanted)
        instant = made.next_ready(now)
        assert instant < math.inf
        now = max(now, instant)
        assert made.ready(now)


@given(st.sampled_from([0.3, 7.0, 150.0]), st.integers(0, 30), st.floats(0.0, 3.0))
def test_who_comes_back_when_the_rate_is_full_has_lost_none(limit: float, calls: int, later: float) -> None:
    patient, restless = rate(limit), rate(limit)
    for each in (patient, restless):
        spent(each, START, calls)
    now = START + later
    full = patient.next_full(now)
    ahead = max(0.0, full - now)
    asked_often = sum(spent(restless, now + ahead * part / 50) for part in range(51))
    assert spent(patient, max(now, full)) >= asked_often - 1, "a part of a call more or less"
    assert patient.next_full(full) > full, "and not later than that"


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_steady_demand_gets_its_share_with_headroom(share: float) -> None:
    made = rate(100.0, share)
    assert spent_over(made, START, 20.0) == pytest.approx(100 * share * HEADROOM * 20, abs=11)


def test_shares_add_up_to_no_more_than_the_limit() -> None:
    parts = [rate(150.0, share) for share in (0.5, 0.3, 0.2)]
    assert sum(spent_over(part, START, 10.0) for part in parts) <= 150 * 10 + 3


def test_a_worker_that_loses_partitions_slows_down_at_once() -> None:
    made = rate(1_000.0)
    assert made.ready(START + 10)  # a burst of 95 is saved up
    made.share(0.1, START + 10)
    assert spent(made, START + 10) <= 10


def test_without_a_share_no_call_is_ever_ready() -> None:
    made = rate(share=0.0)
    spent(made, START)
    assert spent(made, START + 1_000, 5) <= 1
    assert made.next_ready(START + 2_000) == math.inf


def test_429s_slow_the_rate_at_most_once_a_second_and_never_below_the_floor() -> None:
    made = rate()
    full = made.per_second
    made.throttled(START + 1)
    made.throttled(START + 1.5)
    assert made.per_second == pytest.approx(0.7 * full)
    for number in range(50):
        spent_over(made, START + 2 + number, 1.0)
        made.throttled(START + 3 + number)
    assert made.per_second == pytest.approx(FLOOR * full, rel=0.1)
    assert made.slowed


def test_without_further_429s_the_rate_recovers_in_equal_steps() -> None:
    made = rate()
    full = made.per_second
    made.throttled(START)
    shares = []
    for number in range(1, 141):
        spent_over(made, START + (number - 1) * 0.1, 0.1)
        shares.append(made.per_second / full)
    assert shares == sorted(shares)
    assert shares[9] <= 0.7 + 0.05  # it does not recover within the first second
    assert shares[59] == pytest.approx(0.7 + 0.05 * 5, abs=0.03)
    assert not made.slowed


def test_after_a_429_nothing_is_sent_until_the_destinations_next_second() -> None:
    made = rate()
    made.observe(Reply(200, rate_remaining=99), START + 0.3)  # so the destination's second began here
    made.throttled(START + 0.9)
    assert spent(made, START + 1.25) == 0
    assert made.next_ready(START + 0.9) >= START + 1.3
    assert spent_over(made, START + 1.3, 0.5) > 0


def test_after_a_remaining_of_0_nothing_is_sent_until_the_destinations_next_second() -> None:
    made = rate()
    made.observe(Reply(200, rate_remaining=80), START + 0.3)
    made.observe(Reply(200, rate_remaining=0), START + 0.5)
    assert spent(made, START + 1.29) == 0
    assert spent(made, START + 1.31) > 0


def test_a_limit_that_the_destination_announces_counts_if_it_is_lower_than_ours() -> None:
    made = rate(150.0)
    made.observe(Reply(200, rate_limit=50), START)
    assert (made.limit, made.share_per_second) == (50, 50)
    assert spent_over(made, START, 10.0) <= 50 * 10 + 15
    made.observe(Reply(200, rate_limit=500), START + 10)
    assert made.limit == 150
    made.observe(Reply(200, rate_limit=0), START + 11)  # nonsense
    assert made.limit == 150


def test_an_announced_limit_is_forgotten_when_successes_do_not_repeat_it() -> None:
    made = rate(150.0)
    made.observe(Reply(200, rate_limit=1), START)
    for number in range(1, FORGOTTEN_AFTER):
        made.observe(Reply(200), START + number)
    made.observe(Reply(200, rate_limit=1), START + FORGOTTEN_AFTER)
    assert made.limit == 1, "it was repeated"
    for number in range(FORGOTTEN_AFTER):
        # These may come from somebody in between, who would not repeat it.
        made.observe(Reply(503), START + 20)
        made.observe(Reply(None, Failure.TIMEOUT), START + 20)
        assert made.limit == 1
        made.observe(Reply(204), START + 20 + number)
    assert made.limit == 150
    assert spent(made, START + 20 + FORGOTTEN_AFTER) <= 150 * HEADROOM * BURST_SECONDS


def test_only_a_success_announces_a_limit() -> None:
    made = rate(150.0)
    made.observe(Reply(429, rate_limit=1), START)
    assert made.limit == 150, "one user's 429 must not slow the others; everybody's are a matter of `throttled`"


def test_a_clock_that_stops_or_goes_back_allows_no_calls() -> None:
    made = rate()
    spent(made, START + 10)
    assert spent(made, START + 10) == 0
    assert spent(made, START + 5) == 0


@pytest.mark.parametrize(
    ("latency", "jitter", "stalls", "most"),
    [(0.002, 0.001, 0.0, 1.03), (0.02, 0.01, 0.0, 1.03), (0.02, 0.02, 1.0, 1.13), (0.1, 0.05, 0.0, 1.07)],
    ids=["near", "not far", "with stalls of the process", "far"],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_backlog_uses_nearly_all_of_the_limit_without_a_429(
    seed: int, latency: float, jitter: float, stalls: float, most: float
) -> None:
    """A destination that counts in seconds of its own clock. `stalls`: so often a second, up to 0.3 s each."""
    limit, calls = 150, 3_000
    made, rng = Rate(limit, START), random.Random(seed)
    made.share(1.0, START)
    now, phase, started = START, rng.random(), 0
    counts: dict[int, int] = {}
    replies: list[tuple[float, int]] = []  # when each comes, and what it says is left
    while started < calls or replies:
        while replies and replies[0][0] <= now:
            _, remaining = heapq.heappop(replies)
            made.observe(Reply(200, rate_limit=limit, rate_remaining=remaining), now, len(replies))
        while started < calls and len(replies) < 32 and made.ready(now):
            made.spend()
            started += 1
            arrives = now + latency / 2 + rng.random() * jitter
            second = math.floor(arrives + phase)
            counts[second] = counts.get(second, 0) + 1
            heapq.heappush(replies, (arrives + latency / 2 + rng.random() * jitter, limit - counts[second]))
        now += 0.001 + (rng.random() * 0.3 if rng.random() < stalls / 1_000 else 0.0)
    assert max(counts.values()) <= limit
    assert (now - START) * limit / calls <= most


def test_who_has_a_part_of_the_limit_or_many_calls_in_flight_keeps_the_whole_headroom() -> None:
    alone, beside, busy = rate(), rate(share=0.5), rate()
    for each, in_flight in ((alone, 2), (beside, 2), (busy, 20)):
        for remaining in (51, 50):
            each.observe(Reply(200, rate_remaining=remaining), START, in_flight)
    assert [each.per_second for each in (alone, beside, busy)] == [98.0, 47.5, 95.0]
    alone.observe(Reply(200), START + 1)
    assert alone.per_second == 95.0, "nothing tells any more"
    alone.observe(Reply(200, rate_remaining=49), START + 1)
    alone.share(0.5, START + 1)
    assert alone.per_second == 47.5


@pytest.mark.parametrize("remaining", [1, 30, 150, 1_000])
def test_what_is_left_counts_only_where_it_goes_down(remaining: int) -> None:
    """Something in between may answer with one and the same number."""
    made = rate(150.0)
    calls = 0
    for tick in range(2_000):
        now = START + tick / 100
        calls += spent(made, now)
        made.observe(Reply(200, rate_limit=150, rate_remaining=remaining), now, in_flight=2)
    assert calls >= 20 * 150 * HEADROOM * 0.97


def test_calls_in_flight_count_against_what_is_left_of_the_second() -> None:
    made = rate()
    made.observe(Reply(200, rate_remaining=80), START + 0.3)
    made.observe(Reply(200, rate_remaining=5), START + 0.9, in_flight=3)
    assert spent(made, START + 0.95) == 2
    assert made.next_ready(START + 0.95) == START + 1.3
    assert spent(made, START + 1.31) > 2
