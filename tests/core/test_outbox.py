"""The outbox: a letter is tried until it is acknowledged, and never written for a lost partition."""

from __future__ import annotations

import math

from tests.core.drive import P0, STARTED, doubling
from worker.core.facts import Facts
from worker.core.letters.outbox import OffsetOwner, Outbox
from worker.core.letters.storm import Credit, Storm
from worker.core.model import Letter, Now, Reason
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory


def letter(value: bytes = b"") -> Letter:
    return Letter(
        reason=Reason.UNDECODABLE,
        detail="",
        failed_at_ms=0,
        attempts=0,
        sources=(),
        user=None,
        attributes=(),
        record_value=value,
    )


class User:
    """The owner of letters about refused calls."""

    def __init__(self) -> None:
        self.is_wanted = True
        self.written = 0

    def letter_written(self, _: Now) -> None:
        self.written += 1


class Calm(Outbox):
    """An outbox with so much credit that it withholds no letter."""

    def __init__(self) -> None:
        self.memory = Memory(10**9, Facts())
        account = Credit(1_000, 0.5)
        super().__init__(doubling, storm=Storm(account), call_credit=Credit(1_000, 0.5), memory=self.memory)

    def about(self, one: Letter, offset: int = 0, ledger: Ledger | None = None) -> None:
        """Adds a letter about the record at that offset."""
        ledger = ledger or Ledger(P0)
        ledger.hold(offset, 0)
        self.add_of_record(one, OffsetOwner(ledger, offset), 0)


def test_a_letter_is_due_at_once_and_handed_out_once() -> None:
    outbox = Calm()
    first, second = letter(), letter()
    outbox.about(first, 1)
    outbox.about(second, 2)
    assert outbox.next_due() == -math.inf
    assert outbox.due(0.0) == [first, second]
    assert outbox.due(1e9) == []
    assert (outbox.next_due(), len(outbox)) == (math.inf, 2)


def test_an_acknowledged_letter_settles_its_owner() -> None:
    outbox, ledger, user = Calm(), Ledger(P0), User()
    letters = [letter(), letter()]
    outbox.about(letters[0], 1, ledger)
    outbox.add_of_call(letters[1], user)
    outbox.due(0.0)
    assert (ledger.idle, user.written) == (False, 0)
    for one in letters:
        outbox.acknowledged(one, STARTED)
    assert (ledger.idle, user.written) == (True, 1)
    assert (len(outbox), outbox.memory.held_bytes) == (0, 0)


def test_a_letter_that_failed_is_tried_again_after_longer_and_longer_pauses() -> None:
    outbox = Calm()
    only = letter()
    outbox.about(only)
    now = 0.0
    for pause in (1.0, 2.0, 4.0, 8.0):
        assert outbox.due(now) == [only]
        outbox.failed(only, "the topic is down", now)
        assert outbox.problem == "the topic is down"
        assert outbox.due(now + pause - 0.01) == []
        assert outbox.next_due() == now + pause
        now += pause
    assert outbox.due(now) == [only]
    outbox.acknowledged(only, STARTED)
    assert outbox.problem is None


def test_a_letter_of_a_lost_partition_is_not_written() -> None:
    outbox = Calm()
    gone, user, alive = Ledger(P0), User(), letter()
    outbox.about(letter(b"x" * 50), 1, gone)
    outbox.add_of_call(letter(), user)
    outbox.about(alive, 2)
    gone.drop()
    user.is_wanted = False
    outbox.forget_dropped()
    assert outbox.due(0.0) == [alive]
    outbox.acknowledged(alive, STARTED)
    assert (len(outbox), outbox.memory.held_bytes) == (0, 0)
    assert (outbox.call_credit.spent, outbox.storm.credit.spent) == (0, 1), "an unwritten letter must cost no credit"


def test_a_letter_that_failed_is_not_tried_again_after_its_partition_is_lost() -> None:
    outbox = Calm()
    ledger, only = Ledger(P0), letter()
    outbox.about(only, 1, ledger)
    outbox.due(0.0)
    ledger.drop()
    outbox.failed(only, "", 0.0)
    assert outbox.due(99.0) == []
    assert len(outbox) == 0


def test_the_record_inside_a_letter_counts_as_held_memory() -> None:
    outbox = Calm()
    outbox.about(letter())
    empty = outbox.memory.held_bytes
    outbox.about(letter(b"x" * 10_000))
    assert outbox.memory.held_bytes == 2 * empty + 10_000
