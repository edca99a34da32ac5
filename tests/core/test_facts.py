"""Facts: every observer hears each fact once and in order, and no fact can hold an identifier or a value."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import get_args, get_type_hints

import pytest

from tests.core.drive import P0, REFUSED, TIMEOUT, Account, Driver
from worker.core import facts
from worker.core.delivery.verdict import Verdict
from worker.core.model import Failure, Partition, Reason, Reply
from worker.core.receipts.receipt import Receipt
from worker.core.trace import CallTrace, TraceLink

KINDS = get_args(facts.Fact)
TEXTS = {
    "detail",  # for people: the worker or Kafka's client wrote it; never from a record
    "error",  # the same
    "names",  # of attributes, whose values are not told
}


class Ears:
    def __init__(self) -> None:
        self.heard: list[facts.Fact] = []

    def observe(self, fact: facts.Fact) -> None:
        self.heard.append(fact)


def test_a_delivery_is_reported_from_the_call_to_the_settlement() -> None:
    driver = Driver()
    driver.change(1, {"a": 1, "b": 2})
    driver.reply(driver.call(), Reply(200, seconds=0.25))
    assert driver.engine.facts() == [
        facts.CallMade(attributes=2, probe=False),
        facts.CallEnded(Verdict.DELIVERED, 200, None, 0.25),
        facts.Delivered(changes=1, calls=1, age_seconds=1.0),
    ]
    assert driver.engine.facts() == []


def test_a_refusal_is_reported_with_its_dead_letter() -> None:
    driver = Driver()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), REFUSED)
    driver.letters_fail = True
    driver.post()
    driver.letters_fail = False
    driver.advance(1.0)
    (letter,) = driver.post()
    assert driver.told(facts.Refused) == [facts.Refused(stepped_back=False)]
    assert driver.told(facts.LetterFailed) == [facts.LetterFailed(Reason.REJECTED, "the topic is down")]
    assert driver.told(facts.LetterWritten) == [
        facts.LetterWritten(Reason.REJECTED, ("a",), 1, letter.failed_at_ms, P0, offset=0, detail=letter.detail)
    ]
    assert driver.told(facts.Delivered) == []


def test_a_failure_has_no_status() -> None:
    driver = Driver()
    driver.change(1, {"a": 1})
    driver.reply(driver.call(), TIMEOUT)
    (ended,) = driver.told(facts.CallEnded)
    assert (ended.verdict, ended.status, ended.failure) == (Verdict.RETRY, None, Failure.TIMEOUT)


def test_the_number_of_unread_facts_is_bounded() -> None:
    driver, account = Driver(), Account()
    for user in range(facts.FACTS_MAX // 2):
        driver.change(user, {"a": 1})
        driver.reply(driver.call(), account(driver.sent[-1]))
        driver.advance(0.001)
    assert driver.engine.committable() == {P0: facts.FACTS_MAX // 2}
    assert len(driver.engine.facts()) == facts.FACTS_MAX


def test_all_observers_hear_the_same_facts() -> None:
    first, second = Ears(), Ears()
    both = facts.Observers(first, second)
    told: list[facts.Fact] = [facts.Assigned((P0,), 1), facts.PartitionsLost(1, 0)]
    for fact in told:
        both.observe(fact)
    assert first.heard == second.heard == told


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_a_fact_has_no_room_for_an_identifier_or_a_value(kind: type) -> None:
    for field in dataclasses.fields(kind):
        hint = get_type_hints(kind)[field.name]
        for part in get_args(hint) or (hint,):
            closed = part in {
                int,
                float,
                bool,
                type(None),
                Verdict,
                Partition,
                CallTrace,
                TraceLink,
                Receipt,
                ...,
            } or issubclass(part, StrEnum)
            assert closed or (part is str and field.name in TEXTS), f"{kind.__name__}.{field.name}"
