"""Partitions that are revoked or lost while calls and dead letters are in flight, and users in two partitions."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from tests.core.drive import ABORTED, OK, P0, P1, REFUSED, SCHEMA, TIMEOUT, Account, Driver, encode, phone, warm
from tests.support.allocations import traced
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import Partition, Reply

WITHIN_SECONDS = 60.0


def test_a_drains_calls_time_out_by_its_deadline_and_none_starts_just_before_it() -> None:
    driver = Driver(window_seconds=5.0, timeout_seconds=10.0)
    driver.change(1, {"a": 1})
    driver.change(2, {"a": 1})
    driver.engine.draining([P0], driver.now.mono + 4.0)
    (first,) = driver.calls(free=1)
    assert first.timeout_seconds == pytest.approx(4.0)
    driver.advance(3.9)
    assert driver.calls() == []
    assert not driver.engine.drained([P0])
    assert driver.engine.dropped([P0]) == [first]
    assert driver.engine.drained([P0])
    driver.engine.assigned([P0])
    driver.change(3, {"a": 1})
    driver.advance(5.0)
    assert driver.call().timeout_seconds == 10.0


def test_calls_are_made_even_with_a_very_short_time_out() -> None:
    driver = Driver(timeout_seconds=0.1)
    driver.change(1, {"a": 1})
    assert driver.call().timeout_seconds == pytest.approx(0.1)


@pytest.mark.parametrize("reply", [OK, REFUSED, Reply(404), Reply(422), Reply(500), Reply(429), TIMEOUT, ABORTED])
def test_a_late_reply_of_a_dropped_partition_settles_and_dead_letters_nothing(reply: Reply) -> None:
    driver = Driver()
    warm(driver)
    driver.change(1, {"a": 1, "b": 1})
    call = driver.call()
    assert driver.engine.dropped([P0]) == [call]
    driver.engine.assigned([P0])
    driver.reply(call, reply)
    driver.advance(WITHIN_SECONDS)
    driver.post()
    assert (driver.calls(), driver.written, driver.engine.committable()) == ([], [], {})
    assert (driver.engine.open_entries, driver.engine.held_bytes, driver.engine.in_flight) == (0, 0, 0)
    assert driver.engine.totals.delivered_entries == 1
    assert driver.engine.totals.retries == 0


@pytest.mark.parametrize("reply", [OK, REFUSED, Reply(404), Reply(422), Reply(500), TIMEOUT])
@pytest.mark.parametrize("newer", [1, 2])
def test_a_user_in_two_partitions_keeps_what_the_other_brought(reply: Reply, newer: int) -> None:
    """The call carried the value of the partition that is lost. Its reply must cost the other partition nothing."""
    driver, account = Driver(P0, P1), Account()
    warm(driver)
    driver.change(1, {"a": 1}, P0)
    driver.change(1, {"a": newer}, P1)
    call = driver.call()
    assert call.properties == {"a": newer}
    assert driver.engine.dropped([P1]) == []
    driver.reply(call, reply)
    driver.run(account, WITHIN_SECONDS)
    assert driver.engine.committable() == {P0: 2}
    if reply is REFUSED:
        # With `newer` 1 both partitions hold the value that was refused: the one still held gets the letter.
        assert (driver.lost(), account.of(1)) == (([], {"a": 1}) if newer == 2 else ([("rejected", "a", 1)], {}))


def test_a_user_with_a_call_in_flight_for_a_dropped_partition_gets_no_second_call() -> None:
    driver = Driver(P0, P1)
    driver.change(1, {"a": 1}, P0)
    call = driver.call()
    driver.change(1, {"a": 2}, P1)
    driver.engine.dropped([P0])
    assert driver.calls() == []
    driver.reply(call, ABORTED)
    assert driver.call().properties == {"a": 2}


def test_a_late_delivery_report_of_a_dropped_partition_settles_nothing() -> None:
    driver = Driver()
    driver.record(b"\xff")
    (letter,) = driver.engine.letters(driver.now)
    driver.engine.dropped([P0])
    driver.engine.assigned([P0])
    driver.record(b"\xff")
    driver.engine.letter_written(letter, driver.now)
    assert driver.committable == 1
    driver.post()
    assert driver.committable == 2


def test_a_letter_of_a_dropped_partition_is_not_written() -> None:
    driver = Driver(P0, P1)
    driver.record(b"\xff", P0)
    driver.record(b"\xff", P1)
    driver.change(1, {"a": 1}, P0)
    driver.reply(driver.call(), REFUSED)
    driver.engine.dropped([P0])
    (letter,) = driver.post()
    assert [source.partition for source in letter.sources] == [P1]
    assert driver.engine.letters_waiting == 0


def test_a_written_letter_does_not_settle_an_entry_whose_call_is_in_flight() -> None:
    """The letter is about P0, the call carries P1's value, and P1 is dropped. The user stays busy until the reply."""
    driver = Driver(P0, P1)
    driver.change(1, {"bad": 1}, P0)
    driver.change(1, {"good": 1}, P1)
    driver.reply(driver.call(), REFUSED)
    bad = driver.call()
    assert bad.properties == {"bad": 1}
    driver.reply(bad, REFUSED)
    call = driver.call()
    assert call.properties == {"good": 1}
    driver.engine.dropped([P1])
    driver.post()
    driver.change(1, {"good": 2}, P0)
    assert driver.calls() == []
    driver.reply(call, OK)
    assert driver.call().properties == {"good": 2}


def test_records_of_a_partition_that_is_not_held_are_ignored() -> None:
    driver = Driver(P0)
    driver.change(1, {"a": 1}, P1)
    assert (driver.engine.totals.records, driver.calls()) == (0, [])
    assert set(driver.engine.progress()) == {P0}


def test_a_new_assignment_of_a_partition_starts_from_nothing() -> None:
    driver, account = Driver(), Account()
    driver.change(1, {"a": 1})
    driver.engine.dropped([P0])
    driver.engine.assigned([P0])
    assert driver.committable is None
    driver.ends[P0] = 0
    driver.change(1, {"a": 1})
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"a": 1}
    assert driver.engine.committable() == {P0: 1}


def test_a_drain_sends_the_entries_of_its_partitions_before_their_window_ends() -> None:
    driver, account = Driver(P0, P1, window_seconds=30.0), Account()
    driver.change(1, {"a": 1}, P0)
    driver.change(2, {"a": 1}, P1)
    driver.engine.draining([P0], driver.now.mono + 20.0)
    driver.turn(account)
    assert driver.engine.drained([P0])
    assert not driver.engine.drained([P1])
    assert account.of(1) == {"a": 1}


def test_time_outs_that_a_drain_shortened_do_not_halt_the_destination() -> None:
    driver = Driver(P0, P1, timeout_seconds=10.0)
    for user in range(3):
        driver.change(user, {"a": user}, P1)
    driver.engine.draining([P0], driver.now.mono + 0.3)
    calls = driver.calls()
    assert len(calls) == 3
    driver.advance(0.3)
    driver.engine.dropped([P0])
    for call in calls:
        driver.reply(call, TIMEOUT)
    assert driver.engine.halt is None


def test_retry_after_counts_even_if_the_calls_partition_was_dropped() -> None:
    driver = Driver(P0, P1)
    driver.change(1, {"a": 1})
    call = driver.call()
    driver.engine.dropped([P0])
    driver.reply(call, Reply(429, retry_after_seconds=20.0))
    driver.change(2, {"a": 1}, P1)
    assert driver.calls() == []


def test_dropped_entries_leave_no_memory_behind_in_a_queue_whose_head_waits() -> None:
    driver = Driver(P0, P1, window_seconds=5.0)
    driver.change(0, {"a": 0}, P0)
    driver.advance(6.0)
    driver.reply(driver.call(), Reply(401))
    driver.change(1, {"a": 0}, P0)  # waits at the closed gate, ahead of all the others
    with traced() as allocated:
        sizes = []
        for _ in range(4):
            for user in range(500):
                driver.change(1_000 + user, {"a": user}, P1)
            driver.engine.dropped([P1])
            driver.engine.assigned([P1])
            sizes.append(allocated())
    assert sizes[-1] < 1.5 * sizes[0], sizes


def test_a_letter_dropped_unwritten_with_its_partition_costs_no_credit() -> None:
    driver = Driver(P0, P1)
    for _ in range(5):
        driver.record(b"\xff\xff")
        driver.engine.dropped([P0])
        assert (driver.engine.letters_waiting, driver.engine.held_bytes) == (0, 0)
        driver.engine.assigned([P0])
        driver.ends[P0] = 0
    assert driver.engine.letters_spent == (0, 0)


def test_a_problem_with_letters_ends_with_the_last_of_them() -> None:
    driver = Driver(P0, P1)
    driver.letters_fail = True
    driver.record(b"\xff\xff")
    driver.post()
    assert driver.status.letters_problem
    driver.engine.dropped([P0])
    assert driver.status.letters_problem is None


def test_a_drain_also_sends_a_record_whose_schema_arrives_during_it() -> None:
    driver = Driver(P0, decoder=Decoder(Mapping()), window_seconds=30.0)
    driver.record(b"\0\0\0\0\x07" + encode(1, {"a": 1}))
    driver.engine.draining([P0], driver.now.mono + 20)
    driver.engine.schema(7, SCHEMA, driver.now)
    assert len(driver.calls()) == 1


def test_dropping_many_partitions_takes_one_pass_over_the_waiting_users() -> None:
    partitions = [Partition("profile-changes", number) for number in range(48)]
    driver = Driver(*partitions, window_seconds=60.0)
    for user in range(960):
        driver.change(user, {"a": user}, partitions[user % 48])
    lines = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function returns itself
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        driver.engine.dropped(partitions)
    finally:
        sys.settrace(before)
    assert (driver.engine.open_entries, driver.engine.held_bytes) == (0, 0)
    assert lines < 60 * 960, "a callback of the group that looks at each user once a partition holds up the rebalance"


def test_after_the_log_was_truncated_no_commit_passes_the_older_offset_of_a_user_who_waits() -> None:
    """An unclean leader election: first another user's record comes from further back, then that user's."""
    driver = Driver(window_seconds=5.0)
    driver.ends[P0] = 9
    driver.change(1, {"a": 1})
    driver.ends[P0] = 3
    driver.change(2, {"a": 2})
    assert driver.change(1, {"a": 3}) == 4
    assert driver.committable == 3
    driver.advance(5.0)
    for call in driver.calls():
        if call.user.phone == phone(2):
            driver.reply(call, OK)
    assert driver.committable == 4
