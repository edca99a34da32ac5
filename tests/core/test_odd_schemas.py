"""Schemas that are odd: names that are Avro's own words, faults that only show while a record is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.avro import fields, framed, record, varint
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping
from worker.core.model import Event, Reason
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

FLAT = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="*", occurred_at="")
ID = varint(2) + b"u1"
WORDS = ("record", "error", "enum", "fixed", "array", "map", "union", "error_union", "request")


def event_of(schema: object, data: bytes, reader_schema: object | None = None) -> Event:
    decoder = Decoder(FLAT, reader_schema=reader_schema)
    decoder.add(7, schema)
    event = decoder.decode(record(framed(7, data)))
    assert event is not None
    return event


@pytest.mark.parametrize("word", [*WORDS, "int", "string", "null"])
def test_a_record_may_be_named_by_one_of_avros_own_words(word: str) -> None:
    schema = fields(("id", "string"), ("tier", "string"), name=word)
    data = ID + varint(4) + b"gold"
    assert event_of(schema, data).attributes == {"tier": "gold"}
    assert event_of(schema, data, reader_schema=schema).attributes == {"tier": "gold"}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("definition", "raw", "value"),
    [
        ({"type": "enum", "symbols": ["A", "B"]}, varint(1), "B"),
        ({"type": "fixed", "size": 2, "logicalType": "decimal", "precision": 3, "scale": 1}, b"\0\x0f", "1.5"),
    ],
)
def test_a_type_named_by_one_of_avros_own_words_may_be_used_again_by_its_name(
    word: str, definition: dict[str, Any], raw: bytes, value: str
) -> None:
    again: list[Any] = ["null", word]
    schema = fields(
        ("id", "string"), ("one", {**definition, "name": word}), ("two", word), ("three", again), name="Outer"
    )
    data = ID + raw + raw + varint(1) + raw
    for reader_schema in (None, schema):
        attributes = event_of(schema, data, reader_schema).attributes
        assert {name: str(found) for name, found in attributes.items()} == {"one": value, "two": value, "three": value}


def test_a_recursive_record_named_record_is_read() -> None:
    schema = fields(("id", "string"), ("next", ["null", "record"]), name="record")
    assert event_of(schema, ID + varint(1) + ID + varint(0)).user.client_user_id == "u1"


def test_a_field_whose_name_or_further_properties_are_avros_own_words_is_read() -> None:
    schema = fields(("id", "string"), ("items", "int"), ("type", {"type": "string", "values": "x", "items": "y"}))
    schema["fields"][1] |= {"items": "no type", "values": {"type": "nothing"}, "logicalType": "date", "symbols": 7}
    assert event_of(schema, ID + varint(3) + varint(1) + b"a").attributes == {"items": 3, "type": "a"}


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "fixed", "name": "F", "size": "wide"},
        {"type": "fixed", "name": "F", "size": -4},
        {"type": "fixed", "name": "F", "size": 1.5},
        {"type": "fixed", "name": "F"},
        {"type": "enum", "name": "E", "symbols": [1, None]},
        {"type": "enum", "name": "E", "symbols": "AB"},
        {"type": "enum", "name": ["E"], "symbols": ["A"]},
        {"type": "array"},
        {"type": "map", "values": {"type": "map"}},
        {"type": "record", "name": "n.", "fields": []},
        ["null", ["int", "string"]],
        {"type": "enum", "name": "E", "symbols": ["A", "A"]},
        {"type": "enum", "name": "E", "symbols": ["\udfff"]},
        {"type": "record", "name": "R", "fields": [{"name": 5, "type": "int"}]},
        {"type": "record", "name": "R", "fields": [["name", "type"]]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "string"}]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "aliases": [{}]}]},
        {"type": {"type": {}}},
        {"type": "bytes\ud800"},
        [[["null"]], 3],
        True,
    ],
)
def test_what_is_no_schema_makes_its_own_records_undecodable_and_names_its_id(kind: object) -> None:
    with pytest.raises(Undecodable, match="schema 7") as caught:
        event_of(fields(("id", "string"), ("value", kind)), ID + bytes(12))
    assert str(caught.value).isprintable()


def test_a_logical_type_with_a_scale_that_is_no_number_is_read_as_its_plain_type() -> None:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": True}
    mapping = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="values")
    decoder = Decoder(mapping, writer_schema=fields(("id", "string"), ("values", {"type": "map", "values": kind})))
    event = decoder.decode(record(ID + varint(1) + varint(2) + b"k1" + varint(2) + b"hi" + varint(0)))
    assert event is not None
    assert event.attributes == {"k1": b"hi"}


def test_a_writers_defaults_need_not_fit_their_types() -> None:
    schema = fields(("id", "string"), ("tier", ["string", "null"]), tier={"default": {"no": "text"}})
    assert event_of(schema, ID + varint(0) + varint(1) + b"a").attributes == {"tier": "a"}


@pytest.mark.parametrize("broken", ["a\ud800", "\udfff"])
def test_a_field_name_with_a_lone_surrogate_is_an_unusable_attribute_name(broken: str) -> None:
    schema = fields(("id", "string"), (broken, "string"), ("tier", "string"))
    data = ID + varint(1) + b"x" + varint(1) + b"g"
    checked = Preflight(IdentityRules(), AttributeRules()).check(event_of(schema, data))
    assert checked.accepted == {"tier": "g"}
    assert [refusal.reason for refusal in checked.refusals] == [Reason.INVALID_ATTRIBUTE_NAME]
    assert "lone surrogate" in checked.refusals[0].detail
    assert checked.refusals[0].detail.isprintable()
    with pytest.raises(Undecodable) as caught:
        event_of(schema, ID)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "given", [{"prefix": "\udcff"}, {"rename": {"a": "b\udcff"}}, {"custom_identifiers": "\udcff=a"}]
)
def test_a_new_name_that_cannot_be_sent_is_refused_as_a_setting(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        Mapping(**given)
