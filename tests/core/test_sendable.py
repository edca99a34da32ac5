"""Plans that go on to preflight: of any bytes they send the same as reader, extractor and preflight, or leave them."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from tests.core.drive import P0
from tests.core.pairs import LEFT, Pair, Rules, compared, pair_of
from tests.core.test_generated import MAPPINGS, ODD, WHOLE
from tests.fuzz.mutate import spoilt, valid
from tests.support.avro import NOWHERE, body, fields, record, varint
from worker.core.events.decode import Decoder
from worker.core.events.keys import KeyForm
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.model import Event, Record
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.registry.bundled import bundled
from worker.settings.events import AttributeSettings

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
FRESH = 40
RULES: dict[str, Rules] = {
    "default": (IdentityRules(), AttributeRules(allow=("*",))),
    "custom first": (IdentityRules(order=("custom", "client_user_id")), AttributeRules(unknown_values=())),
    "the next one": (IdentityRules(invalid="next"), AttributeRules(nulls="empty_string", deny=("a", "canary-1"))),
    "written otherwise": (
        IdentityRules(order=("email", "phone", "client_user_id"), phone_region="US", email_case="lower"),
        AttributeRules(nulls="reject", unknown_values=("canary-1", "canary-2", "")),
    ),
    "allowed": (IdentityRules(), AttributeRules(allow=("a*", "f?"), unknown_values=("A", "canary-3"))),
}
DEFAULT = RULES["default"]
PROFILE = bundled("profile_changed")


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", WHOLE)
def test_a_record_is_sent_as_step_by_step(name: str, rules: Rules) -> None:
    rng = random.Random(f"{SEED}/{name}")
    pair = Pair(*WHOLE[name], rules=rules)
    try:
        for _ in range(FRESH):
            pieces, other = valid(pair.avro, rng), valid(pair.avro, rng)
            data = b"".join(pieces)
            pair.agrees(data)
            pair.agrees(spoilt(pieces, other, rng))
            pair.agrees(data[: rng.randrange(len(data) + 1)])
    except Exception as error:
        error.add_note(f"seed {SEED} (set FUZZ_SEED to run it again)")
        raise


@pytest.mark.parametrize("seeds", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_random_schemas_and_mappings_are_sent_as_step_by_step(seeds: int) -> None:
    mappings = (*MAPPINGS, FieldMapping(**{**NOWHERE, "client_user_id": "id", "attributes": "*"}))
    assert compared(range(SEED, SEED + seeds), mappings, lambda rng: rng.choice(list(RULES.values())))


@pytest.mark.parametrize(("kind", "data"), ODD)
def test_what_closures_refuse_is_left_to_them(kind: Any, data: bytes) -> None:  # noqa: ANN401 - a schema
    values = {"type": "map", "values": kind}
    mapping = FieldMapping(**{**NOWHERE, "client_user_id": "id", "attributes": "x"})
    pair = pair_of(fields(("id", "string"), ("x", values), ("y", "int")), mapping, DEFAULT)
    assert pair is not None
    for rest in (varint(0), b"", varint(0) * 2):
        pair.agrees(varint(1) + b"u" + varint(1) + varint(1) + b"n" + data + varint(0) + rest)


Map: TypeAlias = Mapping[str, object]
Said: TypeAlias = tuple[Map, Map]
PHONE = {"phone": "+13115552368"}
SENT: dict[str, Said] = {
    "values": (PHONE, {"tier": "gold", "points": 7, "share": 0.5, "member": True}),
    "an e-mail": ({"email": "A@example.com"}, {"tier": "gold"}),
    "a phone of another country": ({"phone": "+4915112345678"}, {"tier": "gold"}),
    "a custom identifier": ({"custom_identifiers": [{"name": "card", "value": "7"}]}, {"tier": "gold"}),
    "a second identifier that is none": (PHONE | {"email": "nobody"}, {"tier": "gold"}),
    "a null": (PHONE, {"tier": None, "points": 7}),
    "a value that is not known": (PHONE, {"tier": "__debezium_unavailable_value", "points": 7}),
    "names of more than one byte to count": (PHONE, {"n" * 90: "x" * 90, "é" * 40: 1}),
}  # fmt: skip
OTHERWISE: dict[str, Said] = {
    "an e-mail that is compared in lower case": ({"email": "a@Example.com"}, {"tier": "gold"}),
    "no identifier": ({}, {"tier": "gold"}),
    "a phone that is none": ({"phone": "+1"}, {"tier": "gold"}),
    "a blank phone before an e-mail": ({"phone": "  ", "email": "a@example.com"}, {"tier": "gold"}),
    "a denied name": (PHONE, {"ssn": "1", "tier": "gold"}),
    "a name that is too long": (PHONE, {"n" * 201: 1, "tier": "gold"}),
    "no name": (PHONE, {"": 1, "tier": "gold"}),
    "no number": (PHONE, {"share": float("nan"), "tier": "gold"}),
    "nothing": (PHONE, {}),
    "nothing but nulls": (PHONE, {"tier": None}),
}  # fmt: skip


def _data(user: Map, attributes: Map) -> bytes:
    datum = {"event_id": "e", "user": user, "attributes": attributes, "occurred_at": 7}
    return body(PROFILE, datum)


@pytest.mark.parametrize("said", SENT.values(), ids=SENT)
def test_it_is_sent_by_generated_code(said: Said) -> None:
    pair = Pair(PROFILE, FieldMapping(), rules=DEFAULT)
    for _ in range(2):  # what was met before is remembered
        assert pair.agrees(_data(*said))


@pytest.mark.parametrize("said", OTHERWISE.values(), ids=OTHERWISE)
def test_it_takes_preflight_to_say_what_becomes_of_it(said: Said) -> None:
    pair = Pair(PROFILE, FieldMapping(), rules=DEFAULT)
    for _ in range(2):
        assert not pair.agrees(_data(*said))
    if said != OTHERWISE["a blank phone before an e-mail"]:
        assert pair.expected(b"abc" + _data(*said)) == LEFT


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    pair = Pair(PROFILE, FieldMapping(), rules=DEFAULT)
    head, tail = _data(PHONE, {}).split(b"\0\x0e", 1) if b"\0\x0e" in _data(PHONE, {}) else (b"", b"")
    assert head
    text, null = varint(4) + varint(4) + b"gold", varint(0)
    for values in ((text, null), (null, text), (text, text), (null, null)):
        entries = b"".join(varint(4) + b"tier" + value for value in values)
        pair.agrees(head + varint(len(values)) + entries + b"\0\x0e" + tail)


def test_by_the_settings_defaults_attributes_are_checked_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would be taken into a map first, and each looked at once more."""
    preflight = Preflight(IdentityRules(), AttributeRules(**AttributeSettings().model_dump()))
    monkeypatch.setattr(preflight, "sendable", None)
    decoder = Decoder(FieldMapping(), writer_schema=PROFILE)
    decoder.go_on_to(preflight)
    assert isinstance(decoder.decode_on(record(_data(*SENT["values"]))), tuple)


ROW = fields(
    ("id", "long"),
    ("phone", ["null", "string"]),
    ("tier", ["null", "string"]),
    ("ssn", ["null", "string"]),
    ("total", ["null", "double"]),
    ("since", ["null", {"type": "int", "logicalType": "date"}]),
    ("address", ["null", fields(("city", "string"), name="Address")]),
)
ROWS: dict[str, tuple[dict[str, object], bool]] = {
    "all": ({"tier": "gold", "total": 0.5, "since": 19_000, "address": {"city": "Berlin"}}, True),
    "nulls": ({"total": 0.5}, True),
    "a contact": ({"tier": "+13115552368", "total": 0.5}, True),
    "a value that is not known": ({"tier": "__debezium_unavailable_value", "total": 0.5}, True),
    "no phone": ({"phone": None, "tier": "gold"}, True),
    "a denied field": ({"ssn": "1", "tier": "gold"}, False),
    "no number": ({"total": float("inf"), "tier": "gold"}, False),
    "nothing to send": ({}, False),
}


@pytest.mark.parametrize(("row", "is_sent"), ROWS.values(), ids=ROWS)
def test_fields_of_a_record_are_checked_as_they_are_read(
    row: dict[str, object], *, is_sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"phone": "phone", "client_user_id": "id", "attributes": "*"}
    pair = Pair(ROW, FieldMapping(**{**NOWHERE, **names}, flatten="_"), rules=DEFAULT)
    monkeypatch.delattr(Preflight, "sendable")
    assert pair.agrees(body(ROW, {"id": 7, "phone": "+13115552368", **row})) == is_sent


MANY: tuple[object, ...] = ("null", "double", "string", *(
    {"type": "enum", "name": f"E{number}", "symbols": ["A"]} for number in range(14)
))  # fmt: skip
LEFT_TO_CLOSURES: dict[str, tuple[dict[str, Any], bytes]] = {
    "a union of many types": (
        fields(("id", "string"), ("all", {"type": "map", "values": [*MANY]})),
        varint(1) + b"u" + varint(1) + varint(3) + b"ssn" + varint(2) + varint(1) + b"1" + varint(0),
    ),
    "a wide record": (
        fields(
            ("id", "string"),
            *((f"f{number}", ["null", "string"]) for number in range(400)),
            ("all", {"type": "map", "values": "string"}),
        ),
        varint(1) + b"u" + varint(0) * 400 + varint(1) + varint(3) + b"ssn" + varint(1) + b"1" + varint(0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "data"), LEFT_TO_CLOSURES.values(), ids=LEFT_TO_CLOSURES)
def test_what_closures_read_in_the_middle_of_the_code_is_checked_too(schema: dict[str, Any], data: bytes) -> None:
    """A closure checks nothing, and these hold a name that policy denies."""
    decoder = Decoder(FieldMapping(**{**NOWHERE, "client_user_id": "id", "attributes": "all"}), writer_schema=schema)
    decoder.go_on_to(Preflight(*DEFAULT))
    event = decoder.decode_on(record(data))
    assert isinstance(event, Event)
    assert "ssn" in event.attributes


@pytest.mark.parametrize("framing", ["text", "integer"])
def test_what_is_left_to_closures_is_left_with_its_kafka_key(framing: str) -> None:
    schema = fields(("tier", "string"), ("n", "double"))
    mapping = FieldMapping(**{**NOWHERE, "client_user_id": "key", "attributes": "*"})
    decoder = Decoder(mapping, writer_schema=schema, key=KeyForm(framing))
    decoder.go_on_to(Preflight(*DEFAULT))
    data = body(schema, {"tier": "gold", "n": float("nan")})
    event = decoder.decode_on(Record(P0, 0, 0, b"\x00\x00\x00\x07", data))
    assert isinstance(event, Event)
    assert event.user.client_user_id == ("\x00\x00\x00\x07" if framing == "text" else "7")


def test_a_record_without_a_key_has_no_attribute_of_it_whoever_its_user_is() -> None:
    mapping = FieldMapping(**{**NOWHERE, "client_user_id": "id", "attributes": "*,key"})
    pair = Pair(fields(("id", "string"), ("tier", "string")), mapping, "string", rules=RULES["the next one"])
    assert pair.agrees(varint(1) + b"x" + varint(1) + b"t", None)
    assert pair.agrees(varint(1) + b"x" + varint(1) + b"t", varint(1) + b"k")
