"""The walk over Avro bytes agrees with fastavro, and ends whatever the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastavro.utils import generate_many

from tests.support.avro import body, fields, varint
from worker.core.avro import AvroType, Undecodable
from worker.core.scan import Scanner
from worker.kafka.schemas import bundled

DEBEZIUM = json.loads((Path(__file__).parents[2] / "examples" / "debezium.avsc").read_text())
EVERYTHING = fields(
    ("null", "null"),
    ("boolean", "boolean"),
    ("int", "int"),
    ("long", "long"),
    ("float", "float"),
    ("double", "double"),
    ("bytes", "bytes"),
    ("string", {"type": "string", "avro.java.string": "String"}),
    ("fixed", {"type": "fixed", "name": "Fixed", "size": 3}),
    ("enum", {"type": "enum", "name": "Enum", "symbols": ["A", "B", "C"]}),
    ("again", "Fixed"),
    ("union", ["null", "Enum", "double", {"type": "array", "items": ["null", "string"]}]),
    ("map", {"type": "map", "values": fields(("x", "Fixed"), name="Inner")}),
    ("empties", {"type": "array", "items": fields(name="Empty")}),
)


@pytest.mark.parametrize(
    "schema",
    [bundled("profile_changed"), bundled("dead_letter"), DEBEZIUM, EVERYTHING],
    ids=["event", "letter", "cdc", "all"],
)
def test_what_a_producer_writes_passes_and_any_cut_of_it_does_not(schema: dict[str, Any]) -> None:
    scanner = Scanner(AvroType(schema))
    for datum in generate_many(json.loads(json.dumps(schema)), 10):
        data = body(schema, datum)
        scanner.check(b"\0" * 5 + data, 5)
        for end in range(len(data)):
            with pytest.raises(Undecodable):
                scanner.check(data[:end], 0)


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("int", varint(2**31), "more than 32 bits"),
        ("int", varint(-(2**31) - 1), "more than 32 bits"),
        ("long", varint(2**63), "more than 64 bits"),
        ("long", b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (["null", "int"], varint(-1), "no such union branch"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, varint(1), "no such enum symbol"),
        ({"type": "array", "items": "int"}, varint(-3) + varint(1), "the record ends"),
        ({"type": "map", "values": "null"}, varint(1) + varint(2) + b"\xff\xfe" + varint(0), "not valid UTF-8"),
    ],
)
def test_values_out_of_bounds_are_told_by_field(kind: Any, data: bytes, says: str) -> None:  # noqa: ANN401 - a schema
    with pytest.raises(Undecodable, match=f"Row.value: .*{says}"):
        Scanner(AvroType(fields(("value", kind)))).check(data, 0)


def test_blocks_with_a_size_in_bytes_are_understood() -> None:
    schema = fields(("value", {"type": "array", "items": "int"}))
    Scanner(AvroType(schema)).check(
        varint(-2) + varint(2) + varint(1) + varint(1) + varint(1) + varint(5) + varint(0), 0
    )


def test_types_wrapped_once_more_are_unwrapped() -> None:
    plain = fields(("first", {"type": "fixed", "name": "Two", "size": 2}), ("second", "Two"))
    wrapped = fields(
        ("first", {"type": {"type": "fixed", "name": "Two", "size": 2}}),
        ("second", {"type": "Two"}),
    )
    assert AvroType(wrapped).parsed == AvroType(plain).parsed


def test_only_dangerous_schemas_need_the_walk() -> None:
    assert not Scanner(AvroType(bundled("profile_changed"))).needed
    assert not Scanner(AvroType(DEBEZIUM)).needed
    assert Scanner(AvroType(EVERYTHING)).needed
    for recursive in (
        fields(("next", ["null", "Row"])),
        fields(("children", {"type": "array", "items": "Row"})),
        fields(("a", fields(("b", {"type": "map", "values": "Row"}), name="A"))),
        fields(("self", "Row")),
    ):
        assert Scanner(AvroType(recursive)).needed


def test_many_types_that_use_each_other_are_judged_at_once() -> None:
    """Each of 45 layers names the next one twice: 2^45 ways through, which nobody may walk one by one."""
    schema: Any = fields(name="Layer0")
    for layer in range(1, 45):
        schema = fields(("one", schema), ("two", f"Layer{layer - 1}"), name=f"Layer{layer}")
    assert Scanner(AvroType(fields(("id", "long"), ("all", {"type": "array", "items": schema})))).needed
