"""The gate: single probes while it is closed, a ramp after it opens, and a pause when the destination asks for one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.core.drive import doubling
from worker.core.delivery.gate import Gate, HaltReason, Passage

CONCURRENCY = 8
PROBE_MAX_SECONDS = 10.0
UNAVAILABLE = HaltReason.UNAVAILABLE


def gate() -> Gate:
    return Gate(doubling, probe_max_seconds=PROBE_MAX_SECONDS, concurrency=CONCURRENCY)


def fail(made: Gate, now: float, *, probe: bool = False) -> bool:
    return made.close(UNAVAILABLE, "status 503", probe=probe, now=now, wall_ms=int(now * 1000))


def closed(now: float = 0.0) -> Gate:
    made = gate()
    assert made.close(HaltReason.UNAUTHORIZED, "status 401", probe=False, now=now, wall_ms=7)
    return made


def test_an_open_gate_lets_as_many_calls_through_as_there_are_senders() -> None:
    made = gate()
    assert made.passage(CONCURRENCY - 1, 0.0) is Passage.FREE
    assert made.passage(CONCURRENCY, 0.0) is Passage.NONE


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
    for _ in range(20):
        assert not fail(made, 0.5)
        assert not made.close(HaltReason.WRONG_URL, "status 404", probe=False, now=0.5, wall_ms=8)
    assert made.next_passage() == due
    assert made.halt is not None
    assert made.halt.reason is HaltReason.UNAUTHORIZED


def test_a_probe_that_fails_for_another_reason_begins_another_halt() -> None:
    made = closed(0.0)
    made.probe_started()
    assert fail(made, 1.0, probe=True)
    assert made.halt is not None
    assert (made.halt.reason, made.halt.since_ms) == (UNAVAILABLE, 1000)


def test_after_an_outage_the_calls_in_flight_ramp_up() -> None:
    made = gate()
    assert fail(made, 0.0)
    made.probe_started()
    ended = made.succeeded(probe=True)
    assert ended is not None
    assert (ended.reason, made.halt) == (UNAVAILABLE, None)
    for allowed in range(1, CONCURRENCY):
        assert made.passage(allowed - 1, 5.0) is Passage.FREE
        assert made.passage(allowed, 5.0) is Passage.NONE
        made.succeeded(probe=True)
    assert made.passage(CONCURRENCY - 1, 5.0) is Passage.FREE


def test_a_halt_that_the_first_probe_refutes_costs_no_ramp() -> None:
    """One user had met a 403: everybody else is well, and goes on as before."""
    made = closed(0.0)
    made.probe_started()
    assert made.succeeded(probe=True) is not None
    assert made.passage(CONCURRENCY - 1, 5.0) is Passage.FREE


def test_a_halt_that_a_probe_confirmed_ends_in_a_ramp() -> None:
    made = closed(0.0)
    made.probe_started()
    made.close(HaltReason.UNAUTHORIZED, "", probe=True, now=1.0, wall_ms=0)
    made.probe_started()
    assert made.succeeded(probe=True) is not None
    assert made.passage(1, 5.0) is Passage.NONE


def test_a_halt_amid_successes_is_probed_at_once_and_then_at_a_pace() -> None:
    made = gate()
    made.close(HaltReason.UNAUTHORIZED, "", probe=False, now=5.0, wall_ms=0, at_once=True)
    assert made.passage(0, 5.0) is Passage.PROBE
    made.probe_started()
    told = made.close(HaltReason.UNAUTHORIZED, "", probe=True, now=5.1, wall_ms=0, at_once=True)
    assert (told, made.halt) == (False, None), "it may be these two users' alone"
    assert made.passage(0, 5.1) is Passage.PROBE
    made.probe_started()
    assert made.close(HaltReason.UNAUTHORIZED, "", probe=True, now=5.2, wall_ms=0, at_once=True)
    assert made.passage(0, 5.3) is Passage.NONE


def test_a_failed_probe_in_a_storm_of_refusals_doubles_the_pause_once() -> None:
    """The answer that tells nothing and the letter that lacks credit are one probe's."""
    made = gate()
    made.close(HaltReason.REJECTION_STORM, "", probe=False, now=0.0, wall_ms=0)
    assert made.next_passage() == 1.0
    made.probe_started()
    made.probe_ended(1.0)
    made.close(HaltReason.REJECTION_STORM, "", probe=True, now=1.0, wall_ms=0)
    assert made.next_passage() == 3.0


def test_a_new_outage_starts_with_the_shortest_pause_again() -> None:
    made = closed(0.0)
    for now in (1.0, 3.0, 7.0):
        made.probe_started()
        made.close(HaltReason.UNAUTHORIZED, "", probe=True, now=now, wall_ms=0)
    made.succeeded(probe=True)
    made.close(UNAVAILABLE, "", probe=False, now=30.0, wall_ms=0)
    assert made.next_passage() == 31.0


def test_a_pause_stops_all_calls_and_a_later_shorter_one_does_not_shorten_it() -> None:
    made = gate()
    made.retry_after(30.0, now=0.0)
    made.retry_after(5.0, now=1.0)
    assert made.passage(0, 29.9) is Passage.NONE
    assert made.pause_seconds(29.9) > 0.0
    assert made.next_passage() == 30.0
    assert made.passage(0, 30.0) is Passage.FREE


def test_a_pause_stops_probes_too() -> None:
    made = closed(0.0)
    made.retry_after(30.0, now=0.0)
    assert made.passage(0, 29.0) is Passage.NONE
    assert made.next_passage() == 30.0


def test_a_drain_probes_at_once_but_not_beside_a_probe_in_flight() -> None:
    made = closed(0.0)
    made.probe_soon(0.1)
    assert made.passage(0, 0.1) is Passage.PROBE
    made.probe_started()
    made.probe_soon(0.2)
    assert made.passage(1, 0.2) is Passage.NONE


def test_a_new_token_is_tried_at_once_beside_the_old_ones_probe() -> None:
    made = closed(0.0)
    made.probe_started()
    made.forget_probe()
    made.probe_soon(0.2)
    assert made.passage(1, 0.2) is Passage.PROBE


def test_an_answer_that_says_nothing_of_the_halt_lets_the_next_probe_go() -> None:
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
            fail(made, now, probe=True)
            not_before = now + min(PROBE_MAX_SECONDS, doubling(probes + 1))
        elif what == "pause":
            made.retry_after(4.0, now)
        else:
            fail(made, now)
