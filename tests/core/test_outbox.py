"""Dead letters on their way: written again until acknowledged, and never for a partition that went away."""

from __future__ import annotations

import math

from tests.core.drive import P0, doubling, key
from worker.core.letters.outbox import Held, Outbox, Owner
from worker.core.letters.storm import Credit, Storm
from worker.core.model import Letter, Reason, User
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.ledger import Ledger


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


def held(offset: int = 0, ledger: Ledger | None = None) -> Held:
    return Held(ledger or Ledger(P0), offset)


def calm_outbox() -> Outbox:
    """One whose letters are never held back."""
    return Outbox(doubling, records=Storm(Credit(1_000, 0.5)), calls=Credit(1_000, 0.5))


def test_a_letter_is_due_at_once_and_once() -> None:
    outbox = calm_outbox()
    first, second = letter(), letter()
    outbox.add(first, held(1), 0)
    outbox.add(second, held(2), 0)
    assert outbox.next_due() == -math.inf
    assert outbox.due(0.0) == [first, second]
    assert outbox.due(1e9) == []
    assert (outbox.next_due(), len(outbox)) == (math.inf, 2)


def test_an_acknowledged_letter_gives_back_whom_it_settles() -> None:
    outbox = calm_outbox()
    owners: list[Owner] = [held(1), Entry(key(1), User(), 0.0)]
    letters = [letter(), letter()]
    for one, owner in zip(letters, owners, strict=True):
        outbox.add(one, owner, 0)
    outbox.due(0.0)
    assert [outbox.acknowledged(one) for one in letters] == owners
    assert (len(outbox), outbox.held_bytes) == (0, 0)


def test_a_letter_that_was_not_taken_comes_again_later_and_later() -> None:
    outbox = calm_outbox()
    only = letter()
    outbox.add(only, held(), 0)
    now = 0.0
    for pause in (1.0, 2.0, 4.0, 8.0):
        assert outbox.due(now) == [only]
        outbox.failed(only, "the topic is down", now)
        assert outbox.problem == "the topic is down"
        assert outbox.due(now + pause - 0.01) == []
        assert outbox.next_due() == now + pause
        now += pause
    assert outbox.due(now) == [only]
    outbox.acknowledged(only)
    assert outbox.problem is None


def test_a_letter_of_a_partition_that_went_away_is_not_written() -> None:
    outbox = calm_outbox()
    gone, entry = Ledger(P0), Entry(key(1), User(), 0.0)
    alive = letter()
    outbox.add(letter(b"x" * 50), held(1, gone), 0)
    outbox.add(letter(), entry, 0)
    outbox.add(alive, held(2), 0)
    gone.drop()
    entry.place = Place.GONE
    assert outbox.due(0.0) == [alive]
    outbox.acknowledged(alive)
    assert (len(outbox), outbox.held_bytes) == (0, 0)


def test_a_letter_that_failed_before_its_partition_went_away_is_not_written_again() -> None:
    outbox = calm_outbox()
    ledger, only = Ledger(P0), letter()
    outbox.add(only, held(1, ledger), 0)
    outbox.due(0.0)
    ledger.drop()
    outbox.failed(only, "", 0.0)
    assert outbox.due(99.0) == []
    assert len(outbox) == 0


def test_the_record_that_a_letter_carries_counts_as_memory() -> None:
    outbox = calm_outbox()
    outbox.add(letter(), held(), 0)
    empty = outbox.held_bytes
    outbox.add(letter(b"x" * 10_000), held(), 0)
    assert outbox.held_bytes == 2 * empty + 10_000
