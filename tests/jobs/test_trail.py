"""What follows from the traces of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from worker.core.events.reading import Content, PassedOver, Unreadable
from worker.core.letters.folding import OPEN
from worker.core.model import (
    Checked,
    Event,
    Letter,
    LostAttribute,
    Partition,
    Reason,
    Refusal,
    Scalar,
    Source,
    User,
    UserKey,
)
from worker.core.receipts.codec import Written
from worker.core.receipts.receipt import Positions, Receipt
from worker.jobs.letters import Found
from worker.jobs.trail import Later, State, Traces, explain

P0 = Partition("changes", 0)
KEY = UserKey("phone", "", "+13110000001")
OFFSET = 10


def letter(offset: int, *names: str, letter_id: str = "abc") -> Letter:
    lost = tuple(LostAttribute(name, 1, None, P0, offset) for name in names)
    return Letter(Reason.REJECTED, "", 0, 1, (Source(P0, offset, 0),), User(), lost, id=letter_id)


def call(offset: int, *names: str, outcome: str = "delivered") -> Written:
    positions = (Positions(P0, offset, tuple((name, offset) for name in names)),)
    return Written(Receipt(0, 1, "request", positions), outcome, 200, None, "pod")


def traces(
    attributes: Mapping[str, Scalar] | None = None,
    *,
    committed: int | None = None,
    letters: Sequence[Found] = (),
    receipts: Sequence[Written] | None = None,
    later: Mapping[str, Sequence[Later]] | None = None,
    content: Content | None = None,
    refusals: tuple[Refusal, ...] = (),
) -> Traces:
    event = Event(User(), {"tier": "gold"} if attributes is None else attributes)
    accepted = {} if refusals else {name: value for name, value in event.attributes.items() if value is not None}
    checked = Checked(KEY, User(), accepted, refusals)  # type: ignore[arg-type]  # the tests' values are scalars
    return Traces(P0, OFFSET, content or event, checked, committed, letters, receipts, later or {})


def tier(found: Traces) -> tuple[State, str]:
    (fate,) = explain(found).attributes
    return fate.state, fate.by


def test_what_is_not_committed_is_pending_and_what_is_past_without_a_trace_is_delivered() -> None:
    assert tier(traces()) == (State.PENDING, "")
    assert tier(traces(committed=OFFSET)) == (State.PENDING, "")
    assert tier(traces(committed=OFFSET + 1)) == (State.DELIVERED, "committed offset 11")


def test_a_receipt_says_more_than_the_commit() -> None:
    assert tier(traces(receipts=[call(OFFSET, "tier")])) == (State.DELIVERED, "call request")
    assert tier(traces(receipts=[call(OFFSET, "tier", outcome="retry")])) == (State.PENDING, "")
    assert tier(traces(receipts=[call(OFFSET, "other"), call(OFFSET + 1, "tier")])) == (State.PENDING, "")


@pytest.mark.parametrize(
    ("how", "state", "by"),
    [
        (OPEN, State.DEAD_LETTER, "letter abc"),
        ("dismissed", State.DEAD_LETTER, "letter abc (dismissed)"),
        ("refused again", State.DEAD_LETTER, "letter abc (refused again)"),
        ("delivered", State.DELIVERED, "letter abc (delivered)"),
        ("superseded", State.SUPERSEDED, "letter abc (superseded)"),
    ],
)
def test_a_letter_counts_by_how_it_ended(how: str, state: State, by: str) -> None:
    assert tier(traces(committed=20, letters=[Found(letter(OFFSET, "tier"), how)])) == (state, by)


def test_a_later_change_supersedes_unless_it_is_a_dead_letter_itself() -> None:
    later = {"tier": [Later(12, "silver"), Later(15, "bronze")]}
    assert tier(traces(committed=20, later=later)) == (State.SUPERSEDED, "changes:0:15")
    one = [Found(letter(15, "tier"), OPEN)]
    assert tier(traces(committed=20, later=later, letters=one)) == (State.SUPERSEDED, "changes:0:12")
    both = [*one, Found(letter(12, "tier", letter_id="def"), OPEN)]
    assert tier(traces(committed=20, later=later, letters=both)) == (State.DELIVERED, "committed offset 20")
    redriven = [Found(letter(15, "tier"), "delivered")]
    assert tier(traces(committed=20, later=later, letters=redriven)) == (State.SUPERSEDED, "changes:0:15")


def test_an_equal_value_behind_it_that_was_refused_takes_it_along() -> None:
    letters = [Found(letter(12, "tier"), OPEN)]
    equal = {"tier": [Later(12, "gold")]}
    assert tier(traces(committed=20, later=equal, letters=letters)) == (State.DEAD_LETTER, "letter abc")


def test_the_record_stands_as_its_worst_attribute() -> None:
    found = explain(
        traces({"tier": "gold", "age": 1, "none": None}, committed=20, letters=[Found(letter(OFFSET, "age"), OPEN)])
    )
    assert found.state is State.DEAD_LETTER
    assert [fate.state for fate in found.attributes] == [State.DELIVERED, State.DEAD_LETTER, State.PASSED_OVER]


def test_records_of_which_nothing_is_to_be_sent_are_passed_over() -> None:
    assert explain(traces({"none": None}, committed=20)).state is State.PASSED_OVER
    assert explain(traces({})).state is State.PASSED_OVER
    assert explain(traces(content=PassedOver(tombstone=True))).state is State.PASSED_OVER


def test_what_would_be_a_letter_today_and_has_none_is_unknown() -> None:
    unreadable = Unreadable("no magic byte")
    assert explain(traces(content=unreadable)).state is State.PENDING
    assert explain(traces(content=unreadable, committed=20)).state is State.UNKNOWN
    whole = [Found(letter(OFFSET), OPEN)]
    assert explain(traces(content=unreadable, committed=20, letters=whole)).state is State.DEAD_LETTER
    refused = Refusal(Reason.UNSUPPORTED_VALUE, "an array", {"tier": "gold"})
    assert tier(traces(committed=20, refusals=(refused,))) == (State.UNKNOWN, "an array")
    assert tier(traces(refusals=(refused,))) == (State.PENDING, "an array")


def test_a_record_without_attributes_and_identifier_is_a_letter_as_a_whole() -> None:
    refusal = Refusal(Reason.NO_IDENTITY, "none of phone is present", {})
    assert explain(traces({}, committed=20, refusals=(refusal,))).state is State.UNKNOWN
    letters = [Found(letter(OFFSET), OPEN)]
    assert explain(traces({}, committed=20, refusals=(refusal,), letters=letters)).state is State.DEAD_LETTER
