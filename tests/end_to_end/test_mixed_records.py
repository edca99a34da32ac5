"""Several schemas in one topic, one of them new amid the records, and hostile records beside good ones."""

from __future__ import annotations

import json
import os
import random
import secrets
from collections import Counter
from typing import Any

import pytest

from tests.end_to_end.conftest import Lab, final_state
from tests.support.avro import NOWHERE, body, fields, framed
from tests.support.odd_records import Odd, OddProducer
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.events.reading import Unreadable, read
from worker.core.model import Event, Partition, Record
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import DEBEZIUM_UNAVAILABLE, AttributeRules
from worker.core.rules.preflight import Preflight

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
RECORDS = 6_000
USERS = 150
TEXT = ["null", "string"]
ROW = fields(
    ("phone", TEXT),
    ("tier", TEXT),
    ("note", ["null", "long", "string"]),
    ("points", ["null", "long"]),
    ("ssn", TEXT),
    ("at", {"type": "long", "logicalType": "timestamp-micros"}),
)
LATER = fields(
    ("at", "long"),
    ("share", ["null", "double"]),
    ("points", ["null", "int"]),
    ("tier", {"type": "enum", "name": "Tier", "symbols": ["gold", "silver", DEBEZIUM_UNAVAILABLE]}),
    ("phone", "string"),
    name="Later",
)
EVENT = fields(
    ("user", ["null", fields(("phone", TEXT), name="User")]),
    ("attributes", {"type": "map", "values": ["null", "string", "long", "double", "boolean"]}),
    ("at", ["null", {"type": "long", "logicalType": "timestamp-millis"}]),
    name="Told",
)
SCHEMAS: dict[int, Any] = {1: ROW, 2: LATER, 3: EVENT}
PATHS: dict[str, Any] = {**NOWHERE, "phone": "phone|user.phone", "attributes": "attributes|*", "occurred_at": "at"}
HEADERS: tuple[tuple[tuple[bytes, bytes | None], ...], ...] = (
    (),
    ((b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    ((b"\xff\xfe", b"\xff"), (b"", None), (b"a{b}'\"\n", b"x" * 500)),
)
TEXTS = ("gold", "silver", "", DEBEZIUM_UNAVAILABLE, "{0}'\"\\\n", "\U0001f600\u202e")
INTEGERS = (0, -1, 2**31 - 1, -(2**31))
TIMES = (0, -(2**63), 2**63 - 1, 1_700_000_000_000)


def _phone(rng: random.Random) -> str:
    return rng.choice(["+1", "1311555", ""]) if rng.random() < 0.03 else f"+1311555{rng.randrange(USERS):04}"


def _datum(schema_id: int, phone: str, rng: random.Random) -> dict[str, Any]:
    denied = rng.random() < 0.03
    if schema_id == 1:
        note = rng.choice([None, *TEXTS])
        texts = {"tier": rng.choice([None, *TEXTS]), "note": note, "ssn": "1" if denied else None}
        return {"phone": phone, **texts, "points": rng.choice([None, *INTEGERS]), "at": rng.choice(TIMES)}
    if schema_id == 2:
        share = rng.choice([None, 0.5, -2.25, float("nan") if denied else 1.5])
        tier = rng.choice(["gold", "silver", DEBEZIUM_UNAVAILABLE])
        return {"phone": phone, "tier": tier, "points": rng.choice(INTEGERS), "share": share, "at": rng.choice(TIMES)}
    values = {"tier": TEXTS, "points": INTEGERS, "share": (0.5, -2.25), "member": (True, False), "class": TEXTS}
    attributes = {name: rng.choice([None, *values[name]]) for name in rng.sample(list(values), rng.randrange(5))}
    if denied:
        attributes[rng.choice(["", "n" * 201, "Social Security"])] = "x"
    return {"user": rng.choice([None] + [{"phone": phone}] * 30), "attributes": attributes, "at": None}


def _records(rng: random.Random) -> list[Odd]:
    """In log order. All of a user lie in the user's partition."""
    made = []
    for number in range(RECORDS):
        phone = _phone(rng)
        schema_id = rng.choice([1, 3] if number < RECORDS // 2 else [1, 2, 3])
        value: bytes | None = framed(schema_id, body(SCHEMAS[schema_id], _datum(schema_id, phone, rng)))
        chance = rng.random()
        if chance < 0.02:
            value = None
        elif chance < 0.04:
            assert value is not None
            value = rng.choice(
                [b"", b"\1text", value[:-1], value + b"\0", value[:7], b"\0\0\0\0\3" + rng.randbytes(40)]
            )
        key = rng.choice([phone.encode(), b"\xff" + phone.encode()])
        made.append(Odd(value, key, rng.choice(HEADERS), partition=sum(phone.encode()) % 3))
    return made


def _expected(made: list[Odd]) -> tuple[dict[str, dict[str, object]], Counter[str]]:
    """What the destination holds in the end, and the letters by reason: record after record, step by step."""
    decoder, preflight = Decoder(Mapping(**PATHS)), Preflight(IdentityRules(), AttributeRules())
    for schema_id, schema in SCHEMAS.items():
        decoder.add(schema_id, schema)
    held: dict[str, dict[str, object]] = {}
    letters: Counter[str] = Counter()
    for odd in made:
        content = read(Record(Partition("t", 0), 0, 0, odd.key, odd.value), decoder)
        if isinstance(content, Unreadable):
            letters["undecodable"] += 1
        elif isinstance(content, Event):
            checked = preflight.check(content)
            letters.update(refusal.reason.value for refusal in checked.refusals)
            if checked.accepted:
                held.setdefault(str(checked.user.phone), {}).update(checked.accepted)
    return held, letters


def test_of_mixed_schemas_and_hostile_records_each_value_and_each_letter_is_as_step_by_step(lab: Lab) -> None:
    rng = random.Random(SEED)
    made = _records(rng)
    held, letters = _expected(made)
    lab.broker.create_topic(lab.topic, 3)
    (lab.schemas / "1.avsc").write_text(json.dumps(ROW))
    (lab.schemas / "3.avsc").write_text(json.dumps(EVENT))
    sandbox = lab.sandbox()
    settings = {f"WORKER_MAPPING__{name.upper()}": path or '""' for name, path in PATHS.items()}
    settings |= {"WORKER_STORM__LETTERS_MAX": "100000", "WORKER_WINDOW__SECONDS": "0.3"}
    with OddProducer(lab.broker.bootstrap_servers) as producer:
        producer.write(lab.topic, made[: RECORDS // 2])
        worker = lab.worker(sandbox.base_url, settings)
        producer.write(lab.topic, made[RECORDS // 2 :])
        (lab.schemas / "2.avsc").write_text(json.dumps(LATER))
    lab.until_committed(120)
    assert final_state(sandbox) == held, f"FUZZ_SEED={SEED}"
    assert Counter(letter["reason"] for letter in lab.dead_letters()) == letters, f"FUZZ_SEED={SEED}"
    assert worker.stop() == 0
