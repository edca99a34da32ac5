"""Profile changes for tests: made from a seed, written to a topic, and folded into the final state to expect."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_writer

from tests.support.producers import ordered_producer

SCHEMAS = Path(__file__).parents[2] / "schemas"
PROFILE_CHANGED = json.loads((SCHEMAS / "profile_changed.avsc").read_text())
DEAD_LETTER = json.loads((SCHEMAS / "dead_letter.avsc").read_text())
SCHEMA_ID = 7
STARTED_MS = 1_700_000_000_000

_PARSED = parse_schema(PROFILE_CHANGED)


@dataclass(frozen=True)
class Change:
    """One event: whose, and what it sets."""

    phone: str
    attributes: Mapping[str, object]
    number: int


def phone(user: int) -> str:
    """The phone number of the n-th user: valid E.164."""
    return f"+1311{user:07d}"


def changes(seed: int, *, events: int, users: int) -> Iterator[Change]:
    """`events` changes of `users` users; the same seed gives the same changes."""
    rng = random.Random(seed)
    for number in range(events):
        attributes: dict[str, object] = {
            "loyalty_points": rng.randrange(100_000),
            "favourite_store": rng.choice(["North", "South", "East", "West"]),
        }
        if rng.random() < 0.3:
            attributes["vip"] = rng.random() < 0.5
        if rng.random() < 0.3:
            attributes["last_order_total"] = rng.randrange(1, 99_999) + 0.25
        yield Change(phone(rng.randrange(users)), attributes, number)


def fold(made: Iterable[Change]) -> dict[str, dict[str, object]]:
    """What each user must end with: the last value of every attribute."""
    state: dict[str, dict[str, object]] = {}
    for change in made:
        state.setdefault(change.phone, {}).update(change.attributes)
    return state


def encode(change: Change, schema_id: int | None = SCHEMA_ID) -> bytes:
    """The change in Avro: with Confluent framing, or bare if `schema_id` is None."""
    event: dict[str, Any] = {
        "event_id": f"event-{change.number}",
        "user": {"phone": change.phone},
        "attributes": change.attributes,
        "occurred_at": STARTED_MS + change.number,
    }
    body = io.BytesIO()
    if schema_id is not None:
        body.write(b"\0" + schema_id.to_bytes(4, "big"))
    schemaless_writer(body, _PARSED, event)
    return body.getvalue()


def schema_directory(directory: Path) -> Path:
    """Puts the event's schema into a folder as `<id>.avsc`; returns the folder."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{SCHEMA_ID}.avsc").write_text(json.dumps(PROFILE_CHANGED))
    return directory


def produce(bootstrap_servers: str, topic: str, made: Iterable[Change], schema_id: int | None = SCHEMA_ID) -> None:
    """Write the changes, keyed by user, and wait until all are acknowledged."""
    producer = ordered_producer(bootstrap_servers, {"linger.ms": 20})
    failures: list[object] = []
    for change in made:
        producer.produce(
            topic,
            encode(change, schema_id),
            change.phone.encode(),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failures, failures[0]
