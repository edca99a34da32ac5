"""The dead letters of a run: each must be about a bad value, and say so rightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from tests.chaos.cast import Cast
from tests.chaos.history import History, Item, Place
from tests.chaos.reading import messages
from tests.chaos.traffic import DENIED, REJECTED, SENSITIVE_DATA, SERVER_ERROR, UNDECODABLE
from tests.support.profiles import DEAD_LETTER

_PARSED = parse_schema(DEAD_LETTER)
_FRAME_BYTES = 5


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        at: when it was written, in epoch seconds.
        user: the phone that it names; empty if it names none.
        values: the lost values, by the places that they came from.
        sources: partition and offset of each source record.
    """

    id: str
    at: float
    reason: str
    user: str
    values: Mapping[Place, object]
    sources: Sequence[tuple[int, int]]


@dataclass(slots=True)
class Lettered:
    """What the judge found in the dead letters.

    Attributes:
        at: when a value was first dead-lettered, in epoch seconds, by its place.
        repeated: letters that were written before: they have the same id.
        given_up: the poison users in letters.
        wrong: broken promises; each item describes one.
    """

    at: dict[Place, float] = field(default_factory=dict)
    repeated: int = 0
    given_up: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def judge_letters(letters: Sequence[Letter], history: History, cast: Cast) -> Lettered:
    """Compares the dead letters with what was bad in the topic. Whether one is missing is not judged here."""
    found = Lettered()
    contents: dict[str, object] = {}
    for letter in sorted(letters, key=lambda letter: letter.at):
        content = letter.reason, frozenset(letter.values)
        found.repeated += letter.id in contents
        if contents.setdefault(letter.id, content) != content:
            found.wrong.append(f"{letter.reason} letter at {letter.at:.3f}: another one has its id")
        found.wrong += [
            f"{letter.reason} letter at {letter.at:.3f}: {fault}" for fault in _faults(letter, history, cast)
        ]
        for place in letter.values:
            found.at.setdefault(place, letter.at)
        if cast.poison_of(letter.user) is not None:
            found.given_up.add(letter.user)
    return found


def _faults(letter: Letter, history: History, cast: Cast) -> Iterator[str]:
    """What is wrong with a letter."""
    if {place[:2] for place in letter.values} != set(letter.sources):
        yield f"its sources are {letter.sources}, its values come from {list(letter.values)}"
    for place, value in letter.values.items():
        item = history.items.get(place)
        if item is None:
            yield f"nothing is at {place}"
            continue
        expected = item.bad or _poisoned(letter, item, history, cast)
        fault = _fault(letter, expected, item, value)
        if fault is not None:
            yield f"{item} {fault}"


def _poisoned(letter: Letter, item: Item, history: History, cast: Cast) -> str | None:
    """The reason for which a good value may be in this letter: its user is poison, and was by then. Else None."""
    status = cast.poison_of(item.user)
    if status is None or history.answered_at.get((item.user, status), letter.at) >= letter.at:
        return None
    return REJECTED if status == HTTPStatus.FORBIDDEN else SERVER_ERROR


def _fault(letter: Letter, expected: str | None, item: Item, value: object) -> str | None:
    if expected is None:
        return "is good"
    if letter.reason != expected:
        return f"is {expected}"
    if letter.user != item.user:
        return f"is in a letter about user {letter.user[-4:]}"
    lost = None if letter.reason == SENSITIVE_DATA or item.name == DENIED else item.value
    if (type(value), value) != (type(lost), lost):
        return f"is in a letter about {value!r}"
    return None


def read_letters(bootstrap_servers: str, topic: str) -> list[Letter]:
    """Every dead letter in the topic."""
    return [_read(message) for message in messages(bootstrap_servers, topic)]


def _read(message: Any) -> Letter:  # noqa: ANN401 - the library's messages carry no types
    letter: Any = schemaless_reader(BytesIO(message.value()[_FRAME_BYTES:]), _PARSED, None)
    values = {(lost["partition"], lost["offset"], lost["name"]): lost["value"] for lost in letter["attributes"]}
    if letter["value"] is not None:
        values |= {(one["partition"], one["offset"], UNDECODABLE): letter["value"] for one in letter["sources"]}
    return Letter(
        letter["id"],
        message.timestamp()[1] / 1000,
        letter["reason"],
        (letter["user"] or {}).get("phone") or "",
        values,
        [(source["partition"], source["offset"]) for source in letter["sources"]],
    )
