"""Receipts: what a call's end tells of it, and how that is written and read back."""

from __future__ import annotations

import pytest
from fastavro import parse_schema

from tests.core.drive import OK, P0, P1, REFUSED, Driver
from worker.core.delivery.verdict import Verdict
from worker.core.facts import CallEnded
from worker.core.model import Reply, User, WorkerIdentity
from worker.core.receipts.codec import NotAReceipt, ReceiptReader, encode
from worker.core.receipts.receipt import Positions, Receipt, request_id_of
from worker.registry.bundled import bundled

WHO = WorkerIdentity("1", "pod-1", "group")
RECEIPT = Receipt(1_700_000_000_123, 2, "abc", (Positions(P0, 3, (("tier", 7), ("age", 5))), Positions(P1, 9, ())))


def receipt_of(driver: Driver) -> Receipt:
    receipt = driver.told(CallEnded)[-1].receipt
    assert receipt is not None
    return receipt


def test_a_call_tells_the_record_of_each_value_and_where_its_user_began() -> None:
    driver = Driver(receipts=True)
    driver.change(1, {"tier": "silver", "age": 40})
    driver.change(2, {"tier": "bronze"})
    driver.change(1, {"tier": "gold"})
    first, _ = driver.calls()
    driver.reply(first, Reply(200, request_id="1-67a/b"))
    receipt = receipt_of(driver)
    assert receipt.positions == (Positions(P0, 0, (("tier", 2), ("age", 0))),)
    assert (receipt.positions[0].last, receipt.attempt) == (2, 1)
    assert receipt.request_id == "1-67a/b"


@pytest.mark.parametrize(
    "text",
    ["", "r" * 257, "+13110000001", "me@example.com", "x-13110000001", "id-of-mine", "card-7", "two words", "é"],
)
def test_what_may_be_an_identifier_is_no_request_id(text: str) -> None:
    user = User("+13110000001", "me@example.com", "of-mine", (("card", "card-7"),))
    assert request_id_of(text, user) is None


def test_a_call_after_a_refusal_is_the_next_attempt_and_carries_what_is_left() -> None:
    driver = Driver(receipts=True)
    driver.change(1, {"tier": "gold", "age": "bad"})
    driver.reply(driver.call(), REFUSED)
    driver.reply(driver.call(), OK)
    first, second = (ended.receipt for ended in driver.told(CallEnded))
    assert first is not None
    assert second is not None
    assert (first.attempt, second.attempt) == (1, 2)
    assert len(second.positions[0].attributes) < len(first.positions[0].attributes)


def test_without_receipts_nothing_is_told() -> None:
    driver = Driver()
    driver.change(1, {"tier": "gold"})
    driver.reply(driver.call(), OK)
    assert [ended.receipt for ended in driver.told(CallEnded)] == [None]


@pytest.mark.parametrize("schema_id", [None, 9])
def test_a_receipt_is_read_back_as_it_was_written(schema_id: int | None) -> None:
    ended = CallEnded(Verdict.DELIVERED, 200, None, 0.25, receipt=RECEIPT)
    schema = parse_schema(bundled("receipt"))
    assert isinstance(schema, dict)
    value = encode(ended, RECEIPT, outcome="delivered", worker=WHO, schema=schema, schema_id=schema_id)
    written = ReceiptReader(bundled("receipt")).read(value, 0 if schema_id is None else 5)
    assert (written.receipt, written.status, written.failure, written.instance) == (RECEIPT, 200, None, "pod-1")
    assert written.delivered


def test_other_bytes_are_no_receipt() -> None:
    with pytest.raises(NotAReceipt):
        ReceiptReader(bundled("receipt")).read(b"\x01\x02", 0)
    with pytest.raises(NotAReceipt, match="KeyError"):
        ReceiptReader({"type": "record", "name": "Other", "fields": []}).read(b"", 0)
