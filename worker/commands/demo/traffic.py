"""The events of the demo, made from a seed, and the final state that they must lead to."""

from __future__ import annotations

import io
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from fastavro import parse_schema, schemaless_writer

from worker.core.model import Reason
from worker.registry.bundled import bundled

SCHEMA_ID = 1
TIERS = ("Bronze", "Silver", "Gold")
TIER = "loyalty_tier"
REFUSED_TIER = "Platinum"  # not one of the values that the account has defined
FORBIDDEN_NAME = "ssn"

_STORES = ("North", "South", "East", "West")
_EVENTS_PER_USER = 15
_USERS_MAX = 400  # more users need more calls, and at the token's rate the demo would take longer
_EVENTS_PER_FAULT = 200  # among so many events, one has no usable identity, and one has a forbidden attribute
_REFUSED_USERS = 0.1
_HOT = 4  # the smaller, the more events belong to few users
_SCHEMA = parse_schema(bundled("profile_changed"))


class Person(NamedTuple):
    """A user by the only identifier in the events. `kind` is phone, email or clientUserId."""

    kind: str
    value: str

    @property
    def masked(self) -> str:
        """For display: only the end of the identifier."""
        return f"{self.kind} ***{self.value[-2:]}"


@dataclass(frozen=True, slots=True)
class Planned:
    """One event to produce. It must cause a dead letter with the reason `provokes`, for the attributes in `refused`."""

    person: Person | None
    user: Mapping[str, str] = field(repr=False)
    attributes: Mapping[str, object] = field(repr=False)
    number: int
    provokes: Reason | None = None
    refused: frozenset[str] = frozenset()

    @property
    def key(self) -> bytes:
        """The record's key. It names the user, so that all changes of a user are in one partition."""
        return next(iter(self.user.values())).encode()

    def encode(self, schema_id: int = SCHEMA_ID) -> bytes:
        """The record's value with the present time, in Confluent framing."""
        event = {
            "event_id": f"event-{self.number}",
            "user": self.user,
            "attributes": self.attributes,
            "occurred_at": time.time_ns() // 1_000_000,
            "source": "demo",
        }
        body = io.BytesIO()
        body.write(b"\0" + schema_id.to_bytes(4, "big"))
        schemaless_writer(body, _SCHEMA, event)
        return body.getvalue()


def plan(seed: int, events: int) -> list[Planned]:
    """All events of a demo, in order. The same seed and number give the same events.

    A value that the account has not defined is the last one its user gets for that attribute. If a later change
    superseded it, it would rightly never be sent, and there would be no dead letter.
    """
    rng = random.Random(seed)  # noqa: S311 - invented events
    people = [_person(number) for number in range(min(_USERS_MAX, events // _EVENTS_PER_USER))]
    weights = [1 / (rank + _HOT) for rank in range(len(people))]
    chosen = rng.choices(people, weights, k=events)
    planned = [_event(rng, number, person) for number, person in enumerate(chosen)]
    for number in rng.sample(range(events), events // _EVENTS_PER_FAULT):
        planned[number] = _unnamed(rng, planned[number])
    for number in rng.sample(range(events), events // _EVENTS_PER_FAULT):
        if planned[number].provokes is None:
            planned[number] = _forbidden(planned[number])
    for number in _last_tiers(rng, planned):
        planned[number] = _refused(planned[number])
    return planned


def fold(planned: Iterable[Planned]) -> dict[Person, dict[str, object]]:
    """The final state of every user: the last value of each attribute that is not refused."""
    state: dict[Person, dict[str, object]] = {}
    for event in planned:
        if event.person is None:
            continue
        kept = {name: _sent(value) for name, value in event.attributes.items() if name not in event.refused}
        state.setdefault(event.person, {}).update(kept)
    return state


def _sent(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _person(number: int) -> Person:
    match number % 10:
        case 0 | 1:
            return Person("email", f"user{number}@example.com")
        case 2:
            return Person("clientUserId", f"client-{number}")
        case _:
            return Person("phone", f"+1311555{number:04d}")


def _event(rng: random.Random, number: int, person: Person) -> Planned:
    attributes: dict[str, object] = {
        "loyalty_points": rng.randrange(100_000),
        "favourite_store": rng.choice(_STORES),
    }
    if rng.random() < 0.5:  # noqa: PLR2004 - here and below: how often an event has the attribute
        attributes[TIER] = rng.choice(TIERS)
    if rng.random() < 0.3:  # noqa: PLR2004 - as above
        attributes["last_order_total"] = rng.randrange(1, 99_999) + 0.25
    if rng.random() < 0.3:  # noqa: PLR2004 - as above
        attributes["vip"] = rng.random() < 0.5  # noqa: PLR2004 - an even chance
    if rng.random() < 0.2:  # noqa: PLR2004 - as above
        attributes["birthday"] = date(1960, 1, 1) + timedelta(days=rng.randrange(15_000))
    field_name = "client_user_id" if person.kind == "clientUserId" else person.kind
    return Planned(person, {field_name: person.value}, attributes, number)


def _unnamed(rng: random.Random, event: Planned) -> Planned:
    phone = f"311-555-{rng.randrange(10_000):04d}"  # no E.164
    names = frozenset(event.attributes)
    return Planned(None, {"phone": phone}, event.attributes, event.number, Reason.INVALID_IDENTITY, names)


def _forbidden(event: Planned) -> Planned:
    attributes = {**event.attributes, FORBIDDEN_NAME: "000-00-0000"}
    names = frozenset({FORBIDDEN_NAME})
    return Planned(event.person, event.user, attributes, event.number, Reason.SENSITIVE_DATA, names)


def _refused(event: Planned) -> Planned:
    attributes = {**event.attributes, TIER: REFUSED_TIER}
    return Planned(event.person, event.user, attributes, event.number, Reason.REJECTED, frozenset({TIER}))


def _last_tiers(rng: random.Random, planned: Sequence[Planned]) -> list[int]:
    """The events that give some of the users their last tier, if these users had one before."""
    last: dict[Person, int] = {}
    counts: Counter[Person] = Counter()
    for number, event in enumerate(planned):
        if event.person is not None and TIER in event.attributes:
            last[event.person] = number
            counts[event.person] += 1
    able = [number for person, number in last.items() if counts[person] > 1 and planned[number].provokes is None]
    return rng.sample(able, max(1, int(len(able) * _REFUSED_USERS)))
