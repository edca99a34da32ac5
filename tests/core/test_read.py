"""The strict Avro reader: it agrees with fastavro on valid bytes, and ends soon on any schema and any bytes."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many

from tests.support.avro import body, fields, varint
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.registry.bundled import bundled

DEBEZIUM = json.loads((Path(__file__).parents[2] / "examples/debezium-postgres/value.avsc").read_text())
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
def test_a_whole_record_is_read_and_a_truncated_one_is_not(schema: dict[str, Any]) -> None:
    avro = AvroType(schema)
    reader = Reader(avro)
    for datum in generate_many(json.loads(json.dumps(schema)), 10):
        data = body(schema, datum)
        expected = fastavro.schemaless_reader(BytesIO(data), avro.parsed, None)
        assert repr(reader.read(b"\0" * 5 + data, 5)) == repr(expected)  # unlike ==, repr knows 1 from True
        for end in range(len(data)):
            with pytest.raises(Undecodable):
                reader.read(data[:end], 0)


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
        ({"type": "array", "items": "int"}, varint(-1) + varint(2) + varint(1) + varint(0), "not as long as it says"),
        ({"type": "map", "values": "int"}, varint(-1) + varint(-2) + varint(0) * 3, "not as long as it says"),
        ("boolean", b"\2", "neither 0 nor 1"),
        ({"type": "map", "values": "null"}, varint(1) + varint(2) + b"\xff\xfe" + varint(0), "not valid UTF-8"),
    ],
)
def test_a_value_out_of_bounds_is_refused_and_its_field_named(kind: Any, data: bytes, says: str) -> None:  # noqa: ANN401 - a schema
    with pytest.raises(Undecodable, match=f"Row.value: .*{says}"):
        Reader(AvroType(fields(("value", kind)))).read(data, 0)


def test_blocks_with_a_size_in_bytes_are_understood() -> None:
    schema = fields(("value", {"type": "array", "items": "int"}))
    data = varint(-2) + varint(2) + varint(1) + varint(3) + varint(1) + varint(5) + b"\x80\0"  # a long form of 0
    assert Reader(AvroType(schema)).read(data, 0) == {"value": [1, 3, 5]}


def test_types_wrapped_once_more_are_unwrapped() -> None:
    plain = fields(("first", {"type": "fixed", "name": "Two", "size": 2}), ("second", "Two"))
    wrapped = fields(
        ("first", {"type": {"type": "fixed", "name": "Two", "size": 2}}),
        ("second", {"type": "Two"}),
    )
    assert AvroType(wrapped).parsed == AvroType(plain).parsed


def test_a_schema_with_2_to_the_45_paths_is_refused_at_once() -> None:
    """Each of 45 types uses the one below it twice. A check that walks every path would never end."""
    schema: Any = fields(name="Layer0")
    for layer in range(1, 45):
        schema = fields(("one", schema), ("two", f"Layer{layer - 1}"), name=f"Layer{layer}")
    with pytest.raises(Undecodable, match="schema has more than"):
        Reader(AvroType(fields(("id", "long"), ("all", schema))))
    reader = Reader(AvroType(fields(("id", "long"), ("all", {"type": "array", "items": schema}))))
    with pytest.raises(Undecodable, match=r"Row\.all: more than"):
        reader.read(varint(0) + varint(1) + varint(0), 0)


@pytest.mark.parametrize("links", [2_000, pytest.param(5_000, marks=pytest.mark.slow)])
def test_a_long_chain_of_named_types_is_refused_before_it_exhausts_the_stack(links: int) -> None:
    chain: list[Any] = ["null", fields(("x", "int"), name="Link0")]
    chain += [fields(("next", f"Link{link - 1}"), name=f"Link{link}") for link in range(1, links)]
    with pytest.raises(Undecodable, match="nested too deep"):
        Reader(AvroType(fields(("chain", chain)))).read(varint(links) + varint(1), 0)


def test_few_bytes_that_ask_for_very_many_objects_are_refused_before_they_are_built() -> None:
    schema = fields(("rows", {"type": "array", "items": fields(("x", ["null", "int"]), name="Inner")}))
    data = varint(300_000) + varint(0) * 300_000 + varint(0)
    with pytest.raises(Undecodable, match=r"Row\.rows: more than 262144"):
        Reader(AvroType(schema)).read(data, 0)
