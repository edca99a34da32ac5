"""The engine from records to committable offsets: order, dead letters, memory, schemas and counts."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.core.drive import OK, P0, P1, SCHEMA, STARTED, TIMEOUT, Account, Driver, encode, encode_of, phone
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.facts import Delivered, MemoryFreed, MemoryFull, SharedUser, UnusualSuccess
from worker.core.model import Record, Reply, User
from worker.core.rules import remembered
from worker.core.rules.identifiers import AS_THEY_ARE
from worker.core.rules.identity import IdentityRules

WITHIN_SECONDS = 60.0


def framed(schema_id: int, data: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + data


def counted(driver: Driver) -> dict[str, int]:
    totals = dataclasses.asdict(driver.engine.totals)
    return totals | {"dead_letters": totals["dead_letters"].total(), "replies": totals["replies"].total()}


def test_changes_within_one_window_become_one_call_with_the_last_values() -> None:
    driver = Driver(window_seconds=5.0)
    driver.change(1, {"a": 1, "b": 1})
    driver.advance(4.9)
    driver.change(1, {"a": 2})
    assert driver.calls() == []
    driver.advance(0.1)
    call = driver.call()
    assert (call.user.phone, call.properties, call.timeout_seconds) == (phone(1), {"a": 2, "b": 1}, 10.0)
    assert driver.committable == 0
    driver.reply(call, OK)
    assert driver.committable == 2


def test_an_identifier_is_checked_once_while_its_user_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more users than are remembered: to check each change's would make a large window dear."""
    checked: list[str] = []
    look = AS_THEY_ARE["phone"]

    def looked_at(phone: str) -> object:
        checked.append(phone)
        return look(phone)

    monkeypatch.setattr(remembered, "_KEPT", 1)
    monkeypatch.setitem(AS_THEY_ARE, "phone", looked_at)
    driver = Driver(window_seconds=5.0)
    for round_ in range(3):
        for user in (1, 2):
            driver.change(user, {"a": round_})
    assert checked == [phone(1), phone(2)]
    driver.advance(5.0)
    assert [call.properties for call in driver.calls()] == [{"a": 2}, {"a": 2}]


def test_an_offset_is_not_committable_before_those_below_it() -> None:
    driver = Driver()
    for user in range(3):
        driver.change(user, {"a": user})
    first, second, third = driver.calls()
    driver.reply(third, OK)
    driver.reply(second, OK)
    assert driver.committable == 0
    driver.reply(first, OK)
    assert driver.committable == 3


def test_no_more_calls_than_there_are_senders() -> None:
    driver = Driver(concurrency=4)
    for user in range(10):
        driver.change(user, {"a": 1})
    assert len(driver.calls(free=3)) == 3
    assert len(driver.calls(free=100)) == 1
    assert driver.engine.in_flight == 4


def test_calls_keep_to_the_rate() -> None:
    driver = Driver(requests_per_second=50.0)
    driver.engine.share(0.5, driver.now)
    for user in range(1_000):
        driver.change(user, {"a": 1})
    driver.run(Account(), 20.0)
    assert len(driver.sent) == pytest.approx(50 * 0.5 * 0.95 * 20, abs=5)


@pytest.mark.parametrize("status", [201, 202, 204])
def test_another_2xx_is_a_delivery_and_is_reported_once(status: int) -> None:
    driver = Driver()
    driver.change(1, {"a": 1})
    driver.change(2, {"a": 1})
    driver.run(lambda _: Reply(status), WITHIN_SECONDS)
    assert driver.committable == 2
    assert driver.told(UnusualSuccess) == [UnusualSuccess(status)]


# -- records that make no call ---------------------------------------------------------------------------------------


def test_a_tombstone_is_counted_and_passed_over() -> None:
    driver = Driver()
    driver.record(None)
    assert driver.committable == 1
    assert (driver.calls(), driver.engine.totals.tombstones, driver.engine.totals.ignored) == ([], 1, 1)


def test_an_undecodable_record_becomes_a_letter_that_holds_the_record() -> None:
    driver = Driver()
    driver.record(b"\xff\xff")
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), OK)
    assert driver.committable == 0
    (letter,) = driver.post()
    assert (letter.reason, letter.record_key, letter.record_value) == ("undecodable", b"key", b"\xff\xff")
    assert driver.committable == 2


def test_a_record_is_committable_when_its_good_attributes_are_sent_and_its_bad_ones_are_written() -> None:
    driver = Driver()
    driver.change(1, {"ssn": "078-05-1120", "a": 1})
    driver.reply(driver.call(), OK)
    assert driver.committable == 0
    driver.post()
    assert driver.lost() == [("sensitive_data", "ssn", None)]
    assert driver.committable == 1


def test_a_letter_that_cannot_be_written_blocks_the_commit_and_is_tried_again() -> None:
    driver = Driver()
    driver.record(b"\xff")
    driver.change(1, {"a": 1})
    driver.letters_fail = True
    driver.run(Account(), 600.0)
    assert (driver.committable, driver.engine.letters_waiting, driver.status.letters_problem) == (
        0,
        1,
        "the topic is down",
    )
    driver.letters_fail = False
    driver.run(Account(), WITHIN_SECONDS)
    assert (driver.committable, len(driver.written), driver.status.letters_problem) == (2, 1, None)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_past_the_memory_budget_partitions_pause_and_entries_are_sent_before_their_window_ends() -> None:
    driver, account = Driver(P0, P1, window_seconds=3_600.0, max_bytes=100_000), Account()
    user = 0
    while not driver.engine.paused():
        driver.change(user, {"a": "x" * 500})
        user += 1
    assert driver.engine.paused() == {P0, P1}
    assert driver.engine.held_bytes > 100_000
    driver.turn(account)
    assert driver.engine.paused() == set()
    assert driver.engine.held_bytes < 80_000
    driver.change(user, {"a": 1})
    assert driver.calls() == []


def test_past_the_memory_budget_entries_are_sent_early_though_nobody_asked_which_partitions_pause() -> None:
    driver = Driver(window_seconds=3_600.0, max_bytes=100_000)
    for user in range(400):
        driver.change(user, {"a": 1})
    assert driver.status.memory_short
    (full,) = driver.told(MemoryFull)
    assert full.held_bytes > 100_000
    assert driver.turn(Account()), "nothing was sent before the window's end"
    driver.run(Account(), WITHIN_SECONDS)
    (freed,) = driver.told(MemoryFreed)
    assert freed.held_bytes <= 80_000


def test_between_the_high_and_the_low_mark_partitions_neither_pause_nor_resume() -> None:
    driver = Driver(window_seconds=3_600.0, max_bytes=100_000)
    user = 0
    while driver.engine.held_bytes <= 90_000:
        driver.change(user, {"a": 1})
        user += 1
    assert driver.engine.paused() == set()
    while driver.engine.held_bytes <= 100_000:
        driver.change(user, {"a": 1})
        user += 1
    assert driver.engine.paused() == {P0}
    while driver.engine.held_bytes >= 90_000:
        driver.reply(driver.calls(free=1)[0], OK)
    assert driver.engine.paused() == {P0}


def test_changes_of_an_outage_are_coalesced_so_that_the_backlog_takes_few_calls() -> None:
    driver, account = Driver(window_seconds=1.0), Account()
    for number in range(1_000):
        driver.change(number % 10, {"a": number % 3})
        driver.turn(lambda _: TIMEOUT)
        driver.advance(0.05)
    calls = len(driver.sent)
    driver.run(account, WITHIN_SECONDS)
    assert len(driver.sent) - calls <= 12
    assert driver.engine.held_bytes == 0
    assert driver.committable == 1_000


# -- schemas ---------------------------------------------------------------------------------------------------------


def test_a_record_whose_schema_is_missing_stalls_its_own_partition_alone() -> None:
    driver, account = Driver(P0, P1, decoder=Decoder(Mapping())), Account()
    driver.engine.schema(1, SCHEMA, driver.now)
    driver.record(framed(1, encode(1, {"a": 1})), P0)
    driver.record(framed(2, encode(1, {"a": 2})), P0)
    driver.record(framed(1, encode(1, {"a": 3})), P0)
    driver.record(framed(1, encode(2, {"a": 4})), P1)
    driver.run(account, WITHIN_SECONDS)
    assert (account.of(1), account.of(2)) == ({"a": 1}, {"a": 4})
    assert (driver.engine.missing_schemas, driver.engine.paused()) == ({2}, {P0})
    assert driver.engine.progress()[P0].oldest_undelivered_ms is not None  # it waits as well, and ages
    assert driver.engine.committable() == {P0: 1, P1: 1}
    assert driver.engine.held_bytes > 0
    driver.engine.schema(2, SCHEMA, driver.now)
    assert (driver.engine.missing_schemas, driver.engine.paused()) == (set(), set())
    assert driver.call().properties == {"a": 3}


def test_records_of_a_schema_that_does_not_exist_become_letters_and_other_records_do_not() -> None:
    driver, account = Driver(decoder=Decoder(Mapping())), Account()
    driver.record(framed(9, encode(1, {"a": 1})))
    driver.record(framed(1, encode(1, {"a": 2})))
    driver.engine.schema(9, None, driver.now)
    assert driver.engine.missing_schemas == {1}
    driver.engine.schema(1, SCHEMA, driver.now)
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"a": 2}
    assert [letter.reason for letter in driver.written] == ["undecodable"]
    assert (driver.committable, driver.engine.held_bytes) == (2, 0)


def test_the_schemas_of_records_further_behind_are_asked_for_at_once() -> None:
    """Each unknown id may take half a minute to be believed; ten in one partition must not take five."""
    driver = Driver(decoder=Decoder(Mapping()))
    for schema_id in (9, 8, 9, 7):
        driver.record(framed(schema_id, encode(1, {"a": 1})))
    assert driver.engine.missing_schemas == {7, 8, 9}
    driver.engine.schema(8, None, driver.now)
    assert driver.engine.missing_schemas == {7, 9}
    driver.engine.schema(9, None, driver.now)
    assert driver.engine.missing_schemas == {7}
    driver.engine.dropped([P0])
    assert driver.engine.missing_schemas == set()


def test_that_an_id_does_not_exist_is_forgotten_after_a_minute() -> None:
    driver, account = Driver(decoder=Decoder(Mapping())), Account()
    driver.record(framed(9, encode(1, {"a": 1})))
    driver.engine.schema(9, None, driver.now)
    driver.advance(59)
    driver.record(framed(9, encode(1, {"a": 2})))
    assert driver.engine.missing_schemas == set()
    driver.advance(2)
    driver.record(framed(9, encode(1, {"a": 3})))
    assert driver.engine.missing_schemas == {9}
    driver.engine.schema(9, SCHEMA, driver.now)
    driver.run(account, WITHIN_SECONDS)
    assert account.of(1) == {"a": 3}
    assert [letter.reason for letter in driver.written] == ["undecodable", "undecodable"]


def test_a_record_that_waits_for_its_schema_is_dropped_with_its_partition() -> None:
    driver = Driver(decoder=Decoder(Mapping()))
    driver.record(framed(1, encode(1, {"a": 1})))
    driver.engine.dropped([P0])
    assert (driver.engine.missing_schemas, driver.engine.held_bytes) == (set(), 0)
    driver.engine.schema(1, SCHEMA, driver.now)
    assert driver.calls() == []


def test_spellings_of_one_identifier_are_one_user_and_an_invalid_one_is_counted() -> None:
    rules = IdentityRules(("email", "phone"), "all", phone_region="US", email_case="lower")
    driver = Driver(window_seconds=5.0, identity=rules)
    users = [
        {"email": "Ann@Shop.example", "phone": "(311) 555-2368"},
        {"email": "ann@SHOP.example", "phone": "junk"},
        {"email": "ann@shop.example", "phone": "+1 311 555 2368"},
    ]
    for number, user in enumerate(users):
        driver.record(encode_of(user, {"a": number, f"only {number}": True}))
    driver.advance(6.0)
    (call,) = driver.calls()
    assert call.user == User("+13115552368", "ann@shop.example")
    assert call.properties == {"a": 2, "only 0": True, "only 1": True, "only 2": True}
    totals = driver.engine.totals
    assert (totals.dropped_identifiers, totals.changes, driver.written) == (1, 3, [])


# -- counts ----------------------------------------------------------------------------------------------------------


def test_the_counts_add_up() -> None:
    driver = Driver(P0, P1, window_seconds=5.0)
    for number in range(10):
        driver.change(1, {"a": number, "gone": None})
    driver.change(1, {"b": 1}, P1)
    driver.change(2, {"a": "purple"})
    driver.change(3, {"gone": None})
    driver.record(None)
    driver.record(b"\xff")
    driver.run(Account(lambda _, value: value == "purple"), WITHIN_SECONDS)
    assert counted(driver) == {
        "records": 15,
        "tombstones": 1,
        "ignored": 2,
        "empty": 1,
        "passed_over": 11,
        "dropped_identifiers": 0,
        "changes": 12,
        "shared_users": 1,
        "calls": 2,
        "calls_saved": 10,
        "spared_changes": 0,
        "spared_values": 0,
        "delivered_entries": 1,
        "retries": 0,
        "dead_letters": 2,
        "replies": 2,
    }
    assert len(driver.told(SharedUser)) == 1


def test_a_user_in_several_partitions_is_reported_even_if_the_record_waited_for_its_schema() -> None:
    driver = Driver(P0, P1, window_seconds=5.0, decoder=Decoder(Mapping()))
    driver.record(framed(1, encode(1, {"a": 1})), P0)
    driver.record(framed(1, encode(1, {"a": 2})), P1)
    driver.engine.schema(1, SCHEMA, driver.now)
    driver.change(2, {}, P0)
    assert len(driver.told(SharedUser)) == 1


def test_a_delivery_reports_the_age_of_its_first_change() -> None:
    driver = Driver(window_seconds=5.0)
    driver.change(1, {"a": 1})
    driver.change(1, {"a": 2})
    driver.advance(7.5)
    driver.reply(driver.call(), OK)
    (delivered,) = driver.told(Delivered)
    assert (delivered.changes, delivered.calls, delivered.age_seconds) == (
        2,
        1,
        8.5,
    )  # the driver's first second is before the record


def test_a_record_from_the_future_has_age_zero() -> None:
    """A producer's clock may be ahead of ours."""
    driver = Driver()
    record = Record(P0, 0, STARTED.wall_ms + 3_600_000, b"key", encode(1, {"a": 1}))
    driver.engine.receive([record], driver.now)
    driver.reply(driver.call(), OK)
    assert [delivered.age_seconds for delivered in driver.told(Delivered)] == [0.0]


def test_the_wakeup_is_the_instant_of_the_next_call() -> None:
    driver = Driver(window_seconds=5.0)
    assert driver.engine.next_wakeup(driver.now) == math.inf
    driver.change(1, {"a": 1})
    assert driver.engine.next_wakeup(driver.now) == driver.now.mono + 5.0
    driver.advance(5.0)
    driver.reply(driver.call(), TIMEOUT)
    assert driver.engine.next_wakeup(driver.now) == driver.now.mono + 1.0


def test_in_a_halt_the_wakeup_is_no_later_than_the_next_probe() -> None:
    driver = Driver(backoff=lambda failures: 1.0 if failures == 1 else 30.0, probe_max_seconds=2.0)
    for user in range(3):
        driver.change(user, {"a": 1})
    for _ in range(8):
        driver.turn(lambda _: Reply(503))
        driver.advance(1.0)
    woken = driver.engine.next_wakeup(driver.now)
    assert woken <= driver.now.mono + 1.0
    driver.advance(max(0.0, woken - driver.now.mono))
    assert driver.call().probe


def test_only_a_small_trace_header_is_kept_and_it_counts_as_held() -> None:
    def held(*headers: tuple[str, bytes]) -> int:
        driver = Driver()
        record = Record(P0, 0, STARTED.wall_ms, b"key", encode(1, {"a": 1}), headers)
        driver.engine.receive([record], driver.now)
        return driver.engine.held_bytes

    large = b"x" * 1_000_000
    assert 111 <= held(("traceparent", b"x" * 100)) - held() < 600
    assert held(("traceparent", large), ("other", large)) == held()
