"""Seeded traffic: almost every value occurs once for its user, so that a request shows which changes it carries."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf

from confluent_kafka import Producer

from tests.chaos.cast import Cast
from tests.chaos.reading import messages
from tests.support.profiles import Change, encode, phone

DENIED = "ssn"
"""An attribute that policy forbids: its value is in no letter."""
REJECTED, SERVER_ERROR, SENSITIVE_DATA = "rejected", "server_error", "sensitive_data"
UNDECODABLE = ""
"""The name under which a record that cannot be decoded stands as a whole, as if it were an attribute."""

_NUMBER = "number"  # the record's header: the number of its change


@dataclass(frozen=True, slots=True)
class Made:
    """A change as it was made.

    Attributes:
        user: the phone in it.
        bad: the reason of the dead letter in which an attribute must end, by name.
    """

    key: str
    value: bytes
    user: str
    attributes: Mapping[str, object]
    bad: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Logged:
    """A change in the topic. `at`: when it was produced, in epoch seconds."""

    partition: int
    offset: int
    at: float
    user: str
    attributes: Mapping[str, object]
    bad: Mapping[str, str] = field(default_factory=dict)


def endless(seed: int, cast: Cast) -> Iterator[Made]:
    """Yields changes without end. A tenth of the users make about half of them."""
    dice = random.Random(seed)
    users = cast.users
    versions = [0] * users
    for number in count():
        user = dice.randrange(max(1, users // 10)) if dice.random() < 0.5 else dice.randrange(users)
        who = phone(user)
        versions[user] += 1
        attributes: dict[str, object] = {"version": versions[user], f"field_{dice.randrange(6)}": number}
        if dice.random() < 0.2:
            attributes["note"] = f"note {number}"
        if dice.random() < 0.2:
            attributes["vip"] = dice.random() < 0.5
        bad: dict[str, str] = {}
        if dice.random() < cast.bad_share and cast.poison_of(who) is None:
            name, value, reason = _bad(number, dice)
            attributes[name], bad[name] = value, reason
        if who in cast.refused:
            bad = dict.fromkeys(attributes, REJECTED) | bad
        change = Change(who, attributes, number)
        yield _unusable(change, dice) if dice.random() < cast.unusable_share else _made(change, who, bad)


def _bad(number: int, dice: random.Random) -> tuple[str, object, str]:
    """A bad attribute: its name, its value, and the reason of its letter."""
    return dice.choice(
        (
            (f"field_{dice.randrange(6)}", f"wrong {number}", REJECTED),
            ("note", number, REJECTED),
            ("tier", f"tier {number}", REJECTED),
            (DENIED, f"ssn {number}", SENSITIVE_DATA),
            ("n" * 201, number, "invalid_attribute_name"),
            ("ratio", inf, "unsupported_value"),
        )
    )


def _unusable(change: Change, dice: random.Random) -> Made:
    """The change without a user, with one that cannot be, or in bytes that cannot be read."""
    reason = dice.choice(("no_identity", "invalid_identity", "undecodable"))
    if reason == "undecodable":
        whole = encode(change)
        spoilt = dice.choice((whole[: len(whole) // 2], b"\1" + whole[1:], b"\xff" * 9))
        return Made(change.phone, spoilt, "", {UNDECODABLE: spoilt}, {UNDECODABLE: reason})
    nobody = replace(change, phone="" if reason == "no_identity" else "12")
    return _made(nobody, change.phone, dict.fromkeys(change.attributes, reason))


def _made(change: Change, key: str, bad: Mapping[str, str]) -> Made:
    return Made(key, encode(change), change.phone, change.attributes, bad)


class Traffic:
    """Writes changes at a steady pace; call `turn` often.

    Attributes:
        made: every change so far, by its number.
    """

    def __init__(self, bootstrap_servers: str, topic: str, changes: Iterator[Made], per_second: float) -> None:
        self._topic = topic
        self._changes = changes
        self._per_second = per_second
        self.made: list[Made] = []
        self.failed = 0
        # Idempotent, so that the log keeps the order of production whatever happens to the brokers.
        properties = {"enable.idempotence": True, "delivery.timeout.ms": 300_000, "reconnect.backoff.max.ms": 500}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "log_level": 2, "linger.ms": 5, **properties}
        )

    def turn(self, elapsed: float) -> None:
        """Writes what is due `elapsed` seconds after the beginning."""
        while len(self.made) < elapsed * self._per_second:
            made = next(self._changes)
            headers: dict[str, str | bytes | None] = {_NUMBER: str(len(self.made))}
            self._producer.produce(
                self._topic, made.value, made.key.encode(), on_delivery=self._delivered, headers=headers
            )
            self.made.append(made)
        self._producer.poll(0)

    def finish(self) -> None:
        """Waits until the brokers have everything.

        Raises:
            AssertionError: they have not after two minutes. The fault is then the harness's, not the worker's.
        """
        assert self._producer.flush(120) == 0, "the brokers did not take all changes"
        assert not self.failed, f"{self.failed} changes were not taken"

    def _delivered(self, error: object, _: object) -> None:
        self.failed += error is not None


def read_log(bootstrap_servers: str, topic: str, made: Sequence[Made]) -> list[Logged]:
    """Everything in the topic, in order within each partition."""
    logged = []
    for message in messages(bootstrap_servers, topic):
        one = made[int(dict(message.headers())[_NUMBER])]
        place = message.partition(), message.offset(), message.timestamp()[1] / 1000
        logged.append(Logged(*place, one.user, one.attributes, one.bad))
    return logged
