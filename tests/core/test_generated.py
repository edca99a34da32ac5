"""Generated plans: of any bytes the same event as reader and extractor give, or left to these."""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

import pytest

from tests.core.pairs import Pair, compared, pair_of
from tests.fuzz.cases import CASES
from tests.fuzz.mutate import spoilt, valid
from tests.support.avro import NOWHERE, body, fields, varint
from worker.core.events.mapping import Mapping
from worker.registry.bundled import bundled

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
FRESH = 40
FAULT = "Unusable("
TEXT = ["null", "string"]
OTHER = fields(("id", "string"), name="Other")
MAPPINGS = (
    Mapping("", "", "id", "", attributes="*", occurred_at="a", event_id="b"),
    Mapping("a", "b", "id", "name=c,x=d", attributes="a.*|b", occurred_at="type", event_id="id", exclude=("b*",)),
    Mapping("items.a", "", "id", "values", attributes="fields.*", ignore_when_null="a", ignore_when=("type=A", "b=1")),
    Mapping("a|b|id", "a.b", "a.id|b.id", "a", attributes="*", flatten="_", occurred_at="a|b", ignore_when_null="b|c"),
    Mapping("", "", "name", "", attributes="*,x=a|b,b.a", prefix="p_", rename={"a": "renamed"}),
    Mapping("", "", "id", "", attributes="a|b|c|*", ignore_when=("a=null", "record=true")),
)
WHOLE: dict[str, tuple[dict[str, Any], Mapping]] = {
    "default": (bundled("profile_changed"), Mapping()),
    "debezium": (CASES["debezium"].schema, CASES["debezium"].mapping),
    "logical": (CASES["logical"].schema, CASES["logical"].mapping),
    "unions": (CASES["unions"].schema, CASES["unions"].mapping),
    "empties": (CASES["empties"].schema, CASES["empties"].mapping),
    "maps": (CASES["maps"].schema, CASES["maps"].mapping),
    "flat": (
        fields(*((f"f{number}", kind) for number, kind in enumerate([TEXT, ["null", "long"], ["double", "null"]] * 4))),
        Mapping(**{**NOWHERE, "attributes": "*", "client_user_id": "f1", "phone": "f0|f3"}),
    ),
    "flattened": (
        fields(
            ("id", "long"),
            ("at", {"type": "long", "logicalType": "timestamp-micros"}),
            ("address", ["null", fields(("city", TEXT), ("more", fields(("zip", "string"), name="More")), name="A")]),
        ),
        Mapping(
            **{**NOWHERE, "attributes": "*", "client_user_id": "id", "occurred_at": "at", "event_id": "at"},
            flatten="_",
        ),
    ),
    "after or before": (
        fields(("after", ["null", fields(("id", "string"), ("x", TEXT), name="Row2")]), ("before", ["null", "Row2"])),
        Mapping(**{**NOWHERE, "attributes": "after.*|before.*", "client_user_id": "after.id|before.id"}),
    ),
    "several paths": (
        fields(("id", "string"), ("a", TEXT), ("b", TEXT), ("all", {"type": "map", "values": ["null", "int"]})),
        Mapping(
            **{**NOWHERE, "attributes": "all,*,first=a|b", "custom_identifiers": "x=id,y=a"},
            prefix="p_", exclude=("canary1",), ignore_when=("b=canary-1",),
        ),
    ),
    "entries": (
        fields(("all", {"type": "map", "values": ["null", "int"]}), ("one", ["null", "string", OTHER])),
        Mapping(**{**NOWHERE, "attributes": "all.canary1,x=all.canary2,y=one.id", "client_user_id": "all.canary3"}),
    ),
    "alternatives": (
        fields(("a", TEXT), ("b", TEXT), ("c", ["int", "null"])),
        Mapping(**{**NOWHERE, "attributes": "a|b|c", "client_user_id": "c|a", "custom_identifiers": "x=c,y=b"}),
    ),
}  # fmt: skip
"""Schemas of which no valid record is left to the closures."""


@pytest.mark.parametrize("name", WHOLE)
def test_generated_code_reads_each_valid_record_and_no_spoilt_one_otherwise_than_closures(name: str) -> None:
    rng = random.Random(f"{SEED}/{name}")
    pair = Pair(*WHOLE[name])
    try:
        for _ in range(FRESH):
            pieces, other = valid(pair.avro, rng), valid(pair.avro, rng)
            data = b"".join(pieces)
            assert pair.agrees(data) or FAULT in pair.expected(b"abc" + data)
            pair.agrees(spoilt(pieces, other, rng))
            pair.agrees(data[: rng.randrange(len(data) + 1)])
    except Exception as error:
        error.add_note(f"seed {SEED} (set FUZZ_SEED to run it again)")
        raise


MAP_OF_NULLS = {"type": "map", "values": fields(*((f"n{number}", "null") for number in range(400)), name="Nulls")}
ODD: tuple[tuple[Any, bytes], ...] = (
    ("string", varint(-1)),
    ("string", varint(2) + b"\xff\xfe"),
    ("string", varint(3) + b"\xed\xa0\x80"),
    ("string", varint(70) + b"\xff" * 70),
    ("string", varint(2**62) + b"abc"),
    ("bytes", varint(-1)),
    ("bytes", varint(-65) + b"\0" * 65),
    ("int", varint(2**31)),
    ("int", varint(-(2**31))),
    ("int", b"\x80\x80\x80\0"),
    ("long", varint(2**63)),
    ("long", varint(-(2**63))),
    ("long", b"\xff" * 9 + b"\x7f"),
    ("boolean", b"\2"),
    ("float", b"\0\0\0"),
    ("double", b"\0\0\0\0\0\0"),
    ({"type": "fixed", "name": "F", "size": 9}, b"\0\0\0\0\0\0\0"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, varint(2)),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, varint(-1)),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x82\0"),
    (["null", "string"], varint(2)),
    (["null", "string"], varint(-1) + varint(1) + b"x"),
    (["null", "string"], b"\x82\0" + varint(1) + b"x"),
    ({"type": "map", "values": "int"}, varint(1) + varint(1) + b"x" + varint(7) + b"\x80\0"),
    ({"type": "map", "values": "int"}, varint(-1) + varint(3) + varint(1) + b"x" + varint(7) + varint(0)),
    ({"type": "map", "values": "int"}, varint(-1) + varint(4) + varint(1) + b"x" + varint(7) + varint(0)),
    ({"type": "map", "values": "int"}, (varint(2) + (varint(1) + b"x" + varint(7)) * 2) * 2 + varint(0)),
    ({"type": "map", "values": "int"}, varint(1) + varint(-1) + varint(7) + varint(0)),
    ({"type": "map", "values": "int"}, varint(1) + varint(1) + b"\xff" + varint(7) + varint(0)),
    ({"type": "map", "values": "null"}, varint(2**50) + varint(0) * 50),
    (MAP_OF_NULLS, varint(1_000) + b"".join(varint(3) + f"{number:03x}".encode() for number in range(1_000)) + b"\0"),
    ({"type": "array", "items": "null"}, varint(2**50) + varint(0)),
    ({"type": "array", "items": "double"}, varint(2**50) + b"\0" * 8),
    ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 9}}, varint(2**50) + b"\0" * 9),
    ({"type": "array", "items": fields(("f", "float"), name="One")}, varint(2**50) + b"\0" * 4),
    ({"type": "array", "items": "int"}, varint(1) + varint(7) + b"\x80\0"),
    ({"type": "array", "items": "int"}, varint(-1) + varint(1) + varint(7) + varint(0)),
    ({"type": "array", "items": "int"}, varint(-1) + varint(2) + varint(7) + varint(0)),
    ({"type": "array", "items": {"type": "array", "items": "null"}}, (varint(1) + varint(200_000) + b"\0") * 2 + b"\0"),
    (["null", fields(("a", "string"), name="One"), fields(("b", "int"), name="Two")], varint(2) + varint(2**31)),
)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"attributes": "x"}, {"attributes": "y", "client_user_id": "x"}, {"attributes": "y"}],
    ids=["attribute", "identifier", "passed over"],
)
@pytest.mark.parametrize(("kind", "data"), ODD)
def test_what_closures_refuse_generated_code_leaves_to_them(kind: Any, data: bytes, settings: dict[str, str]) -> None:  # noqa: ANN401 - a schema
    pair = pair_of(fields(("x", kind), ("y", "int")), Mapping(**{**NOWHERE, **settings}))
    if pair is not None:  # arrays and bytes are no attributes
        for rest in (varint(0), b"", varint(0) * 2):
            pair.agrees(data + rest)


@pytest.mark.parametrize("seeds", [12, pytest.param(600, marks=pytest.mark.slow)])
def test_random_schemas_and_mappings_give_the_same_events(seeds: int) -> None:
    assert compared(range(SEED, SEED + seeds), MAPPINGS, lambda _: None) > seeds


@pytest.mark.parametrize("text", ["+13115552368", "+1", "a@example.com", "a@", "@", "+", "", "1+1"])
def test_texts_that_are_a_phone_or_an_address_are_kept_back(text: str) -> None:
    kinds = (TEXT, "string", ["null", "string", "long"])
    pair = Pair(fields(*((f"f{n}", kind) for n, kind in enumerate(kinds))), Mapping(**{**NOWHERE, "attributes": "*"}))
    raw = varint(len(text)) + text.encode()
    assert pair.agrees(varint(1) + raw + raw + varint(1) + raw)
    assert pair.agrees(varint(0) + raw + varint(2) + varint(7))


def test_what_takes_more_than_one_byte_to_count_is_read_by_generated_code() -> None:
    pair = Pair(bundled("profile_changed"), Mapping())
    attributes = {f"name {number} {'n' * number}": "x" * number for number in range(200)}
    datum = {"event_id": "e" * 300, "user": {"phone": "+1" * 70}, "attributes": attributes, "occurred_at": 0}
    before = body(bundled("profile_changed"), datum)[:-2]
    for occurred_at in (0, -1, 64, -(2**31), 253_402_300_800_000, -62_135_596_800_001, 2**63 - 1):
        assert pair.agrees(before + varint(occurred_at) + varint(0))


def test_paths_into_the_key_are_read_by_generated_code() -> None:
    more = {"type": "map", "values": "string"}
    key = fields(("id", "long"), ("region", TEXT), ("more", more), name="Key")
    mapping = Mapping(
        **{**NOWHERE, "attributes": "*,key.region,key.more", "client_user_id": "key.id|id", "event_id": "key.region"}
    )
    pair = Pair(fields(("id", "string"), ("tier", TEXT)), mapping, key)
    data, key_data = varint(1) + b"x" + varint(0), varint(7) + varint(1) + varint(2) + b"eu" + varint(0)
    assert pair.agrees(data, key_data)
    assert pair.agrees(data, None)
    assert not pair.agrees(data, key_data[:1])


@pytest.mark.parametrize("attributes", ["key", "*,key", "key|id", "key.*|id"])
def test_a_record_without_a_key_has_no_attribute_of_it(attributes: str) -> None:
    pair = Pair(fields(("id", "string")), Mapping(**{**NOWHERE, "attributes": attributes}), "string")
    assert pair.agrees(varint(1) + b"x", None)
    assert pair.agrees(varint(1) + b"x", varint(1) + b"k")


def test_a_spoilt_key_is_left_to_closures_though_no_path_leads_to_anything_in_it() -> None:
    mapping = Mapping(**{**NOWHERE, "attributes": "*", "client_user_id": "key.id|id"})
    pair = Pair(fields(("id", "string"), ("tier", TEXT)), mapping, fields(("number", "long"), name="Key"))
    data = varint(1) + b"x" + varint(0)
    assert pair.agrees(data, varint(7))
    assert not pair.agrees(data, b"")
