"""Generated plans: of any bytes the same event as reader and extractor give, or left to these."""

from __future__ import annotations

import ast
import gc
import json
import os
import random
import secrets
import traceback
import weakref
from typing import Any

import pytest

from tests.fuzz import schemas
from tests.fuzz.cases import CASES
from tests.fuzz.mutate import spoilt, valid
from tests.support.avro import NOWHERE, body, fields, varint
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.avro.source import Names
from worker.core.events.attributes import naming
from worker.core.events.extract import extractor
from worker.core.events.generate import generated
from worker.core.events.mapping import KEY, Mapping, Shape
from worker.core.events.spots import NotCovered
from worker.core.model import Event
from worker.registry.bundled import bundled

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
FRESH = 40
LEFT = "left to the closures"
REFUSED = "refused"
FAULT = "Unusable("
TEXT = ["null", "string"]
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
    "alternatives": (
        fields(("a", TEXT), ("b", TEXT), ("c", ["int", "null"])),
        Mapping(**{**NOWHERE, "attributes": "a|b|c", "client_user_id": "c|a", "custom_identifiers": "x=c,y=b"}),
    ),
}  # fmt: skip
"""Schemas of which no valid record is left to the closures."""


def seen(event: Event | None) -> str:
    """All of an event, of which its own `repr` shows little. Unlike ==, it knows 1 from True."""
    if event is None:
        return "ignored"
    user = event.user
    told = (user.phone, user.email, user.client_user_id, user.custom, event.attributes, event.occurred_at_ms)
    return repr((*told, event.event_id, event.unusable, event.kept_back))


class Pair:
    """Reader and extractor of a schema and a mapping, and the plan that is generated of the same."""

    def __init__(self, schema: object, mapping: Mapping, key_schema: object | None = None) -> None:
        self.avro = AvroType(schema)
        shape = Shape(self.avro, None if key_schema is None else AvroType(key_schema))
        named = naming(mapping)
        self._reader = Reader(self.avro)
        self._read_key = None if shape.key is None else Reader(shape.key).read
        self._extract = extractor(mapping, shape, named)
        self.plan = generated(mapping, shape, named, Names(), self._read_key, leave, "schema 7")

    @property
    def source(self) -> str:
        return str(self.plan.__globals__["__loader__"].get_source(""))

    def expected(self, data: bytes, key: bytes | None = None) -> str:
        try:
            value = self._reader.read(data, 3)
            if type(value) is not dict:
                return REFUSED
            if self._read_key is not None and key is not None:
                value[KEY] = self._read_key(key, 0)
            return seen(self._extract(value))
        except Undecodable:
            return REFUSED

    def generated(self, data: bytes, key: bytes | None = None) -> str:
        try:
            return seen(self.plan(data, 3, key, 0))
        except LeftError:
            return LEFT

    def agrees(self, data: bytes, key: bytes | None = None) -> bool:
        """Whether both say the same of these bytes. False: they are left to the closures."""
        found, expected = self.generated(b"abc" + data, key), self.expected(b"abc" + data, key)
        assert found in {expected, LEFT}, f"{data.hex()}: {expected}"
        return found != LEFT


class LeftError(Exception):
    """The generated plan has left a record to the closures."""


def leave(_value: bytes, _start: int, _key: bytes | None, _key_start: int) -> Event | None:
    raise LeftError


def pair_of(schema: object, mapping: Mapping) -> Pair | None:
    try:
        return Pair(schema, mapping)
    except (NotCovered, Undecodable):
        return None


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


@pytest.mark.parametrize("seeds", [25, pytest.param(600, marks=pytest.mark.slow)])
def test_random_schemas_and_mappings_give_the_same_events(seeds: int) -> None:
    compared = 0
    for seed in range(SEED, SEED + seeds):
        rng = random.Random(seed)
        schema = schemas.valid(rng)
        for mapping in MAPPINGS:
            pair = pair_of(schema, mapping)
            if pair is None:
                continue
            try:
                for _ in range(4):
                    pieces, other = valid(pair.avro, rng), valid(pair.avro, rng)
                    compared += pair.agrees(b"".join(pieces))
                    pair.agrees(spoilt(pieces, other, rng))
            except Exception as error:
                error.add_note(f"seed {seed} (set FUZZ_SEED to run it again), {mapping}:\n{json.dumps(schema)}")
                raise
    assert compared > seeds


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
    key = fields(("id", "long"), ("region", TEXT), name="Key")
    mapping = Mapping(**{**NOWHERE, "attributes": "*", "client_user_id": "key.id|id", "event_id": "key.region"})
    pair = Pair(fields(("id", "string"), ("tier", TEXT)), mapping, key)
    data, key_data = varint(1) + b"x" + varint(0), varint(7) + varint(0)
    assert pair.agrees(data, key_data)
    assert pair.agrees(data, None)
    assert not pair.agrees(data, key_data[:1])


HOSTILE = (
    "a'b", 'a"b', "a\nb", "a\\", "#", "'''", '"""', "__import__('os').abort()", "{v1}", "d\ud800", "\u2028", "\0",
    "\\N{DIGIT ONE}", "');raise Odd#", "%s", "v1",
)  # fmt: skip


def with_names(names: tuple[str, ...]) -> Pair:
    kind = {"type": "enum", "name": names[0], "symbols": ["A", "B"]}
    schema = fields(
        *((name, TEXT) for name in names),
        ("inner", ["null", fields(*((name, "string") for name in names), name=names[1])]),
        ("kind", kind),
        name=names[2],
    )
    mapping = Mapping(
        **{**NOWHERE, "attributes": f"*,{names[0]}=kind", "custom_identifiers": f"{names[1]}=kind"},
        rename={names[3]: names[4]}, prefix=names[5], flatten=names[6], ignore_when=(f"kind={names[7]}",),
        exclude=(names[8],),
    )  # fmt: skip
    return Pair(schema, mapping)


def test_names_of_a_schema_or_a_mapping_are_data_and_never_code() -> None:
    pair, plain = with_names(HOSTILE), with_names(tuple(f"n{number:02}" for number in range(len(HOSTILE))))
    rng = random.Random(SEED)
    for _ in range(FRESH):
        assert pair.agrees(b"".join(valid(pair.avro, rng)))
    assert pair.source.isascii()
    assert without_texts(pair.source) == without_texts(plain.source)


def without_texts(source: str) -> str:
    """What the source does, whatever its texts are."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in {"@", "+"}:
            node.value = "a text"
    return ast.dump(tree)


def test_a_traceback_shows_the_line_of_generated_code() -> None:
    plan = Pair(fields(("id", "string")), Mapping(**{**NOWHERE, "attributes": "*"})).plan
    with pytest.raises(LeftError) as caught:
        plan(b"", 0, None, 0)
    frame = traceback.extract_tb(caught.value.__traceback__)[1]
    assert frame.filename.startswith("schema 7, generated ")
    assert frame.line == "return closures(data, start, key, key_start)"


def test_a_forgotten_plan_is_freed_at_once() -> None:
    """The worker looks for garbage seldom."""
    gc.collect()
    gc.disable()
    try:
        pair = Pair(*WHOLE["default"])
        held = [weakref.ref(each) for each in (pair.avro, pair.plan)]
        del pair
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


OTHER = fields(("id", "string"), name="Other")


@pytest.mark.parametrize(
    ("schema", "settings"),
    [
        (fields(("id", "string"), ("next", ["null", "Row"])), {"attributes": "*"}),
        ([OTHER, fields(("id", "string"))], {"attributes": "*"}),
        (fields(("x", OTHER)), {"attributes": "x.*", "client_user_id": "x"}),
        (fields(("x", {"type": "map", "values": "string"})), {"attributes": "x.y"}),
        (fields(*((f"f{number}", "int") for number in range(3_000))), {"attributes": "*"}),
        (fields(("x", "bytes")), {"attributes": "y"}),
    ],
    ids=["recursive", "several types", "whole and by fields", "an entry of a map", "very large", "refused"],
)
def test_some_schemas_are_left_to_closures(schema: object, settings: dict[str, str]) -> None:
    with pytest.raises(NotCovered):
        Pair(schema, Mapping(**{**NOWHERE, **settings}))


def test_types_that_hold_each_other_twice_do_not_become_endless_code() -> None:
    schema: Any = fields(("x", TEXT), name="Layer0")
    for layer in range(1, 14):
        schema = fields(("one", ["null", schema]), ("two", f"Layer{layer - 1}"), name=f"Layer{layer}")
    pair = Pair(fields(("id", "string"), ("all", schema)), Mapping(**{**NOWHERE, "attributes": "id"}))
    assert pair.source.count("\n") < 6_000
    assert pair.agrees(varint(1) + b"x" + varint(0) * 14)
