"""The gate: single probes while it is closed, a ramp after it opens, and a pause when the destination asks for one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.core.drive import doubling, key
from worker.core.delivery.gate import FAILING_CALLS, FAILING_USERS, Gate, HaltReason, Passage

CONCURRENCY = 8
PROBE_MAX_SECONDS = 10.0
UNAVAILABLE = HaltReason.UNAVAILABLE


def gate() -> Gate:
    return Gate(doubling, probe_max_seconds=PROBE_MAX_SECONDS, concurrency=CONCURRENCY)


def fail(made: Gate, user: int, now: float, *, probe: bool = False) -> bool:
    return made.failed(key(user), "status 503", probe=probe, now=now, wall_ms=int(now * 1000))


def closed(now: float = 0.0) -> Gate:
    made = gate()
    assert made.close(HaltReason.UNAUTHORIZED, "status 401", probe=False, now=now, wall_ms=7)
    return made


def test_an_open_gate_lets_as_many_calls_through_as_there_are_senders() -> None:
    made = gate()
    assert made.passage(CONCURRENCY - 1, 0.0) is Passage.FREE
    assert made.passage(CONCURRENCY, 0.0) is Passage.NONE


def test_a_few_failing_users_close_it_and_one_user_alone_needs_more_failures() -> None:
    made = gate()
    assert [fail(made, user, 0.0) for user in range(FAILING_USERS)] == [False] * (FAILING_USERS - 1) + [True]
    made = gate()
    assert [fail(made, 1, 0.0) for _ in range(FAILING_CALLS)] == [False] * (FAILING_CALLS - 1) + [True]


def test_a_success_resets_the_count_of_failures() -> None:
    made = gate()
    for turn in range(50):
        assert not fail(made, turn, 0.0)
        assert not fail(made, turn + 1, 0.0)
        made.succeeded(0.0, probe=False)
    assert made.halt is None


def test_probes_come_one_at_a_time_each_after_a_longer_pause() -> None:
    made = closed(0.0)
    pauses = []
    since = now = 0.0
    for _ in range(7):
        now = made.next_passage()
        assert made.passage(0, math.nextafter(now, -math.inf)) is Passage.NONE
        assert made.passage(0, now) is Passage.PROBE
        pauses.append(now - since)
        made.probe_started()
        assert made.passage(1, now + 99) is Passage.NONE
        assert made.next_passage() == math.inf
        since = now
        assert not made.close(HaltReason.UNAUTHORIZED, "status 401", probe=True, now=now, wall_ms=9)
    assert pauses == [1, 2, 4, 8, PROBE_MAX_SECONDS, PROBE_MAX_SECONDS, PROBE_MAX_SECONDS]
    assert made.halt is not None
    assert made.halt.since_ms == 7


def test_a_reply_to_a_call_from_before_the_halt_changes_nothing() -> None:
    made = closed(0.0)
    due = made.next_passage()
    for user in range(20):
        assert not fail(made, user, 0.5)
        assert not made.close(HaltReason.WRONG_URL, "status 404", probe=False, now=0.5, wall_ms=8)
    assert made.next_passage() == due
    assert made.halt is not None
    assert made.halt.reason is HaltReason.UNAUTHORIZED


def test_a_probe_that_fails_for_another_reason_begins_another_halt() -> None:
    made = closed(0.0)
    made.probe_started()
    assert fail(made, 1, 1.0, probe=True)
    assert made.halt is not None
    assert (made.halt.reason, made.halt.since_ms) == (UNAVAILABLE, 1000)


def test_after_it_opens_each_success_allows_one_more_call_in_flight() -> None:
    made = closed(0.0)
    made.probe_started()
    ended = made.succeeded(5.0, probe=True)
    assert ended is not None
    assert (ended.reason, made.halt, made.outage_ended_at) == (HaltReason.UNAUTHORIZED, None, 5.0)
    for allowed in range(1, CONCURRENCY):
        assert made.passage(allowed - 1, 5.0) is Passage.FREE
        assert made.passage(allowed, 5.0) is Passage.NONE
        made.succeeded(5.0, probe=True)
    assert made.passage(CONCURRENCY - 1, 5.0) is Passage.FREE


def test_a_halt_that_one_user_alone_caused_is_no_outage() -> None:
    made = gate()
    for _ in range(FAILING_CALLS):
        fail(made, 1, 0.0)
    assert made.succeeded(5.0, probe=True) is not None
    assert made.outage_ended_at == -math.inf
    for user in range(FAILING_USERS):
        fail(made, user, 6.0)
    assert made.succeeded(9.0, probe=True) is not None
    assert made.outage_ended_at == 9.0


def test_a_new_outage_starts_with_the_shortest_pause_again() -> None:
    made = closed(0.0)
    for now in (1.0, 3.0, 7.0):
        made.probe_started()
        made.close(HaltReason.UNAUTHORIZED, "", probe=True, now=now, wall_ms=0)
    made.succeeded(20.0, probe=True)
    made.close(UNAVAILABLE, "", probe=False, now=30.0, wall_ms=0)
    assert made.next_passage() == 31.0


def test_a_pause_stops_all_calls_and_a_later_shorter_one_does_not_shorten_it() -> None:
    made = gate()
    made.retry_after(30.0, now=0.0)
    made.retry_after(5.0, now=1.0)
    assert made.passage(0, 29.9) is Passage.NONE
    assert made.in_retry_after(29.9)
    assert made.next_passage() == 30.0
    assert made.passage(0, 30.0) is Passage.FREE


def test_a_pause_stops_probes_too() -> None:
    made = closed(0.0)
    made.retry_after(30.0, now=0.0)
    assert made.passage(0, 29.0) is Passage.NONE
    assert made.next_passage() == 30.0


def test_a_new_token_is_tried_at_once_unless_a_probe_is_in_flight() -> None:
    made = closed(0.0)
    made.probe_soon(0.1)
    assert made.passage(0, 0.1) is Passage.PROBE
    made.probe_started()
    made.probe_soon(0.2)
    assert made.passage(1, 0.2) is Passage.NONE


def test_after_a_probe_whose_reply_says_nothing_of_the_halt_the_next_may_go_at_once() -> None:
    made = closed(0.0)
    made.probe_started()
    made.probe_ended(3.0)
    assert made.halt is not None
    assert made.passage(0, 3.0) is Passage.PROBE


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.sampled_from(["probe fails", "stale fails", "pause"])), max_size=40))
def test_in_an_outage_at_most_one_probe_is_in_flight_and_none_starts_early(
    moments: list[tuple[float, str]],
) -> None:
    made = closed(0.0)
    now, probes, not_before = 0.0, 0, 1.0
    for seconds, what in moments:
        now += seconds
        if made.passage(0, now) is Passage.PROBE:
            assert now >= not_before
            made.probe_started()
            assert made.passage(1, now + 1e6) is Passage.NONE
            probes += 1
            not_before = math.inf
        if what == "probe fails" and not_before == math.inf:
            fail(made, probes, now, probe=True)
            not_before = now + min(PROBE_MAX_SECONDS, doubling(probes + 1))
        elif what == "pause":
            made.retry_after(4.0, now)
        else:
            fail(made, 99, now)
