"""What became of one record, as far as its traces say: receipts, dead letters, later changes, the committed offset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worker.core.events.reading import Content, PassedOver, Unreadable
from worker.core.letters.folding import OPEN
from worker.core.model import Checked, Event, Partition, Scalar
from worker.core.receipts.codec import Written
from worker.jobs.letters import Found


class State(StrEnum):
    """How a record or an attribute of it stands. Of a record's attributes, the first of these that one has counts."""

    PENDING = "pending"
    DEAD_LETTER = "dead_letter"
    UNKNOWN = "unknown"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    PASSED_OVER = "passed_over"


_RESOLVED: Final = {"delivered": State.DELIVERED, "superseded": State.SUPERSEDED}
_BY_RULE: Final = "WORKER_ATTRIBUTES__ALLOW or WORKER_ATTRIBUTES__UNKNOWN_VALUES leaves it out"
_KEPT_BACK: Final = "its value looks like a phone or an address; name it in WORKER_MAPPING__ATTRIBUTES to send it"
_DETAILS: Final = {
    State.DEAD_LETTER: "it is, or was, a dead letter",
    State.SUPERSEDED: "later changes of the same user stand in its place; whether it was sent before them, only a "
    "receipt could tell",
    State.UNKNOWN: "the group has committed past it, and there is no letter, though today's settings would make one: "
    "they were others, or the letter is deleted",
}


@dataclass(frozen=True, slots=True)
class Later:
    """A later change of the same attribute of the same user."""

    offset: int
    value: Scalar = field(repr=False)


@dataclass(frozen=True, slots=True)
class Traces:
    """What was found out about a record.

    Attributes:
        partition, offset: where it lies.
        content: what it says.
        checked: what the rules make of it. None if it is no event.
        committed: the group's committed offset in its partition. None if it has none.
        letters: dead letters about its partition, in the order of their topic.
        receipts: calls that carried something of it. None: none are written.
        later: by attribute, the later changes of its user in its partition.
    """

    partition: Partition
    offset: int
    content: Content
    checked: Checked | None
    committed: int | None
    letters: Sequence[Found]
    receipts: Sequence[Written] | None
    later: Mapping[str, Sequence[Later]]

    @property
    def settled(self) -> bool:
        """Whether the group has committed past the record."""
        return self.committed is not None and self.committed > self.offset

    def letters_about(self, offset: int, name: str | None = None) -> list[Found]:
        """The letters with this attribute of a record; without a name, all that come from the record."""
        return [
            each
            for each in self.letters
            if any(
                one.partition == self.partition and one.offset == offset and name in {None, one.name}
                for one in each.letter.attributes
            )
            or (name is None and any((s.partition, s.offset) == (self.partition, offset) for s in each.letter.sources))
        ]

    def delivered_by(self, name: str) -> Written | None:
        """The latest call that delivered this attribute of the record."""
        carried = (name, self.offset)
        found = [
            call
            for call in self.receipts or ()
            if call.delivered
            and any(one.partition == self.partition and carried in one.attributes for one in call.receipt.positions)
        ]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Fate:
    """How one attribute stands, and what says so."""

    name: str
    state: State
    by: str
    value: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the record stands."""

    state: State
    detail: str
    attributes: tuple[Fate, ...]


def explain(traces: Traces) -> Explanation:
    """What became of the record."""
    match traces.content:
        case PassedOver(tombstone):
            why = "it has no value (a tombstone)" if tombstone else "the mapping's rules pass over such records"
            return Explanation(State.PASSED_OVER, why, ())
        case Unreadable(detail):
            return _refused_whole(traces, f"it cannot be decoded: {detail}")
        case Event() as event:
            return _of_event(traces, event)


def _of_event(traces: Traces, event: Event) -> Explanation:
    fates = tuple(_fates(traces, event))
    if not fates and traces.checked is not None and traces.checked.refusals:
        return _refused_whole(traces, traces.checked.refusals[0].detail)
    states = {fate.state for fate in fates}
    state = next((each for each in State if each in states), State.PASSED_OVER)
    return Explanation(state, _detail(traces, state, fates), fates)


def _refused_whole(traces: Traces, why: str) -> Explanation:
    """A record of which nothing can be sent, so that there is nothing but a letter."""
    if traces.letters_about(traces.offset):
        return Explanation(State.DEAD_LETTER, why, ())
    if traces.settled:
        return Explanation(State.UNKNOWN, f"{why}; {_DETAILS[State.UNKNOWN]}", ())
    return Explanation(State.PENDING, f"{why}; {_waits(traces)}", ())


def _fates(traces: Traces, event: Event) -> Iterable[Fate]:
    checked = traces.checked
    assert checked is not None  # noqa: S101 - an event is always checked
    refused = {name: refusal for refusal in checked.refusals for name in refusal.attributes}
    for name, value in event.attributes.items():
        if name in checked.accepted:
            yield _of_accepted(traces, name, checked.accepted[name])
        elif name in refused:
            state, by = _by_letter(traces, traces.offset, name) or (
                (State.UNKNOWN, "") if traces.settled else (State.PENDING, "")
            )
            yield Fate(name, state, by or refused[name].detail, value)
        else:
            yield Fate(name, State.PASSED_OVER, "it is null" if value is None else _BY_RULE, value)
    yield from (Fate(name, State.PASSED_OVER, _KEPT_BACK) for name in event.kept_back)


def _of_accepted(traces: Traces, name: str, value: Scalar) -> Fate:
    call = traces.delivered_by(name)
    if call is not None:
        return Fate(name, State.DELIVERED, f"call {call.receipt.request_id or 'without a request id'}", value)
    if (found := _by_letter(traces, traces.offset, name)) is not None:
        return Fate(name, *found, value)
    refused_with: tuple[State, str] | None = None
    for later in reversed(traces.later.get(name, ())):
        lost = _by_letter(traces, later.offset, name)
        if lost is None or lost[0] is not State.DEAD_LETTER:
            by = f"{traces.partition.topic}:{traces.partition.number}:{later.offset}"
            return Fate(name, State.SUPERSEDED, by, value)
        if later.value == value and type(later.value) is type(value):
            refused_with = lost  # of equal values the worker keeps the newest alone
    if refused_with is not None:
        return Fate(name, *refused_with, value)
    if traces.settled:
        return Fate(name, State.DELIVERED, f"committed offset {traces.committed}", value)
    return Fate(name, State.PENDING, "", value)


def _by_letter(traces: Traces, offset: int, name: str) -> tuple[State, str] | None:
    """What the latest letter about this attribute of a record says. An open one counts before all others."""
    about = traces.letters_about(offset, name)
    if not about:
        return None
    found = next((each for each in about if each.state == OPEN), about[-1])
    how = "" if found.state == OPEN else f" ({found.state})"
    return _RESOLVED.get(found.state, State.DEAD_LETTER), f"letter {found.letter.id}{how}"


def _waits(traces: Traces) -> str:
    if traces.committed is None:
        return "the group has committed nothing of its partition yet"
    return f"the group has committed up to {traces.committed}, so it is not settled"


def _detail(traces: Traces, state: State, fates: Iterable[Fate]) -> str:
    if state is State.PENDING:
        return _waits(traces)
    if state is State.PASSED_OVER:
        return "every attribute is left out by a rule" if list(fates) else "it has no attribute"
    if state is not State.DELIVERED:
        return _DETAILS[state]
    if all(fate.by.startswith("call ") or fate.state is not State.DELIVERED for fate in fates):
        return "a receipt says so"
    known = "no receipts are kept" if traces.receipts is None else "no receipt is there (it may be lost or deleted)"
    return (
        f"the group has committed past it, no dead letter is about it and no later change replaces it: so it was "
        f"delivered, or spared as unchanged (WORKER_SPARING__USERS_MAX), unless somebody moved the group's offsets or "
        f"the letter is deleted; {known}"
    )
