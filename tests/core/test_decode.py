"""The decoder: framing, schemas by id, schema evolution, and bytes that do not fit the schema."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.avro import body, fields, framed, record, varint
from worker.core.events.decode import Decoder, SchemaMissing, Undecodable
from worker.core.events.mapping import Mapping
from worker.core.model import Event
from worker.registry.bundled import bundled

PROFILE_CHANGED = bundled("profile_changed")
EVENT: dict[str, Any] = {
    "event_id": "e1",
    "user": {
        "phone": "+13115552368",
        "email": None,
        "client_user_id": "c1",
        "custom_identifiers": [{"name": "loyalty", "value": "L1"}],
    },
    "attributes": {"city": "Lyon", "visits": 3, "rate": 0.5, "vip": True, "gone": None},
    "occurred_at": 1_700_000_000_123,
    "source": None,
}
FLAT = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="*", occurred_at="at")


def decoded(decoder: Decoder, value: bytes) -> Event:
    event = decoder.decode(record(value))
    assert event is not None
    return event


def refusal(decoder: Decoder, value: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decoder.decode(record(value))
    return str(caught.value)


def default_decoder() -> Decoder:
    decoder = Decoder(Mapping())
    decoder.add(7, PROFILE_CHANGED)
    return decoder


def test_the_default_mapping_fits_the_bundled_schema() -> None:
    event = decoded(default_decoder(), framed(7, body(PROFILE_CHANGED, EVENT)))
    user = event.user
    assert (user.phone, user.email, user.client_user_id) == ("+13115552368", None, "c1")
    assert user.custom == (("loyalty", "L1"),)
    assert dict(event.attributes) == EVENT["attributes"]
    assert (event.occurred_at_ms, event.event_id) == (1_700_000_000_123, "e1")


def test_an_unknown_schema_id_is_asked_for_and_one_that_does_not_exist_is_undecodable() -> None:
    decoder = Decoder(Mapping())
    value = framed(2**31 - 5, body(PROFILE_CHANGED, EVENT))
    with pytest.raises(SchemaMissing) as missing:
        decoder.decode(record(value))
    assert missing.value.schema_id == 2**31 - 5
    decoder.add(2**31 - 5, None)
    assert refusal(decoder, value) == f"schema {2**31 - 5} does not exist"
    decoder.add(2**31 - 5, PROFILE_CHANGED)
    assert decoded(decoder, value).event_id == "e1"


def test_a_schema_that_is_added_again_counts_from_the_next_record_on() -> None:
    decoder = Decoder(FLAT)
    for name in ("one", "two"):
        decoder.add(7, fields(("id", "string"), (name, "string")))
        for _ in range(3):
            event = decoded(decoder, framed(7, varint(1) + b"u" + varint(1) + b"x"))
            assert event.attributes == {name: "x"}


def test_an_id_that_no_registry_can_give_is_undecodable_at_once() -> None:
    """If asked for it, some registries answer as if the URL were wrong. The worker would retry that for ever."""
    assert "larger than any" in refusal(Decoder(Mapping()), framed(2**31, b"whatever"))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "PROTOBUF"},
        {"type": {"type": "PROTOBUF"}},
        "no such type",
        7,
        {"type": "record", "name": "R"},
        {},
        [],
        ["null", "null"],
        None,
    ],
)
def test_an_invalid_schema_makes_its_own_records_undecodable(schema: object) -> None:
    decoder = default_decoder()
    decoder.add(8, schema)
    assert refusal(decoder, framed(8, b"\0")).startswith("schema 8")
    assert decoded(decoder, framed(7, body(PROFILE_CHANGED, EVENT))).event_id == "e1"


def test_a_schema_that_is_nested_too_deep_is_invalid_and_does_not_crash_the_process() -> None:
    schema: object = "int"
    for _ in range(2_000):
        schema = {"type": "array", "items": schema}
    decoder = Decoder(Mapping())
    decoder.add(1, schema)
    assert "levels deep" in refusal(decoder, framed(1, b"\0"))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "empty"),
        (b'{"event_id": "e1"}', "not the magic byte"),
        (b"\0\0\0", "too few"),
        (framed(7, b""), "ProfileChanged.event_id: the record ends"),
        (framed(7, body(PROFILE_CHANGED, EVENT)[:-1]), "ProfileChanged.source: the record ends"),
        (framed(7, body(PROFILE_CHANGED, EVENT) + b"\0\0"), "2 bytes follow"),
        (framed(7, varint(2**60) + b"secret"), "ProfileChanged.event_id: the record ends"),
        (framed(7, varint(-6) + b"secret"), "ProfileChanged.event_id: a negative length"),
        (framed(7, varint(3) + b"\xed\xa0\x80"), "ProfileChanged.event_id: not valid UTF-8"),
        (framed(7, varint(0) + varint(9)), "User.phone: no such union branch"),
        (framed(7, b"\xff" * 40), "more than 64 bits"),
    ],
)
def test_bytes_that_do_not_fit_are_explained_by_field_and_never_quoted(value: bytes, says: str) -> None:
    detail = refusal(default_decoder(), value)
    assert says in detail
    assert "secret" not in detail


def test_with_a_writer_schema_records_are_bare_avro() -> None:
    decoder = Decoder(Mapping(), writer_schema=PROFILE_CHANGED)
    assert decoded(decoder, body(PROFILE_CHANGED, EVENT)).event_id == "e1"
    assert "bytes follow" in refusal(decoder, body(PROFILE_CHANGED, EVENT) + b"x")
    with pytest.raises(ValueError, match="writer schema"):
        Decoder(Mapping(), writer_schema={"type": "record"})


def test_versions_of_a_schema_mix_in_one_topic() -> None:
    """A field added with a default, removed, reordered, renamed by alias, and an int grown to a long."""
    versions: dict[int, tuple[dict[str, Any], dict[str, object], dict[str, object]]] = {
        1: (fields(("id", "string"), ("points", "int"), ("tier", "string")), {"tier": "gold"}, {"tier": "gold"}),
        2: (
            fields(
                ("points", "long"),
                ("city", ["null", "string"]),
                ("tier", "string"),
                ("id", "string"),
                city={"default": None},
            ),
            {"tier": "gold", "city": "Lyon"},
            {"tier": "gold", "city": "Lyon"},
        ),
        3: (fields(("customer", "string"), ("points", "long"), customer={"aliases": ["id"]}), {}, {}),
    }
    decoder = Decoder(FLAT)
    for schema_id, (schema, _, _) in versions.items():
        decoder.add(schema_id, schema)
    order = random.Random(5)
    for step in range(60):
        schema_id = order.choice(list(versions))
        schema, row, expected = versions[schema_id]
        points = step if schema_id == 1 else 2**40 + step
        datum = {**row, "points": points, "customer" if schema_id == 3 else "id": f"u{step}"}
        event = decoded(decoder, framed(schema_id, body(schema, datum)))
        assert event.user.client_user_id == f"u{step}"
        assert dict(event.attributes) == {**expected, "points": points}


def test_a_reader_schema_resolves_defaults_promotions_and_its_own_aliases() -> None:
    """The reader renamed a field: its new name has the writer's name as an alias."""
    reader = fields(
        ("customer", "string"),
        ("points", "double"),
        ("city", "string"),
        ("joined", {"type": "int", "logicalType": "date"}),
        customer={"aliases": ["id"]},
        city={"default": "unknown"},
        joined={"default": 1},
    )
    mapping = Mapping(client_user_id="customer", attributes="*", phone="", email="", custom_identifiers="")
    decoder = Decoder(mapping, reader_schema=reader)
    old = fields(("id", "string"), ("dropped", "string"), ("points", "int"))
    new = fields(("city", "string"), ("customer", "string"), ("points", "long"))
    decoder.add(1, old)
    decoder.add(2, new)
    decoder.add(3, fields(("customer", "string")))
    first = decoded(decoder, framed(1, body(old, {"id": "u1", "dropped": "x", "points": 3})))
    second = decoded(decoder, framed(2, body(new, {"city": "Lyon", "customer": "u2", "points": 4})))
    assert first.user.client_user_id == "u1"
    assert {key: str(value) for key, value in first.attributes.items()} == {
        "points": "3.0",
        "city": "unknown",
        "joined": "1970-01-02",
    }
    assert (second.user.client_user_id, second.attributes["city"]) == ("u2", "Lyon")
    assert "does not resolve to the reader schema" in refusal(
        decoder, framed(3, body(fields(("customer", "string")), {"customer": "u"}))
    )


TREE = fields(("id", "string"), ("child", ["null", "Row"]))


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_a_recursive_record_nested_without_end_is_refused_before_it_exhausts_the_stack(levels: int) -> None:
    decoder = Decoder(FLAT, writer_schema=TREE)
    assert "nested more than 64 deep" in refusal(decoder, (varint(0) + varint(1)) * levels + varint(0) + varint(0))
    shallow = {"id": "u1", "child": {"id": "u2", "child": None}}
    assert decoded(decoder, body(TREE, shallow)).user.client_user_id == "u1"


@pytest.mark.parametrize(
    "items", ["null", fields(name="Empty"), {"type": "fixed", "name": "F", "size": 0}, fields(("n", "null"), name="E")]
)
def test_an_array_that_claims_very_many_items_of_zero_bytes_is_refused_at_once(items: object) -> None:
    schema = fields(("id", "string"), ("none", {"type": "array", "items": items}))
    decoder = Decoder(FLAT, writer_schema=schema)
    assert "Row.none: more than 262144 records, arrays, maps and values that take no bytes" in refusal(
        decoder, varint(0) + varint(2**60) + varint(0)
    )
    assert decoded(decoder, varint(0) + varint(3) + varint(0)).user.client_user_id == ""


def test_a_count_larger_than_the_record_is_refused_before_anything_is_allocated() -> None:
    schema = fields(("id", "string"), ("some", {"type": "array", "items": "long"}))
    decoder = Decoder(FLAT, writer_schema=schema)
    assert "the record ends" in refusal(decoder, varint(0) + varint(2**60) + varint(1))


@given(st.binary(max_size=60), st.integers(0, 50))
def test_any_bytes_are_an_event_or_undecodable(noise: bytes, cut: int) -> None:
    for prefix in (b"", body(PROFILE_CHANGED, EVENT)[:cut]):
        try:
            event = default_decoder().decode(record(framed(7, prefix + noise)))
        except Undecodable:
            continue
        assert isinstance(event, Event)


def test_paths_that_a_schema_lacks_are_named() -> None:
    decoder = Decoder(Mapping())
    assert decoder.absent_paths(PROFILE_CHANGED) == ()
    lacking = fields(("event_id", "string"), ("attributes", {"type": "map", "values": "string"}))
    assert decoder.absent_paths(lacking) == (
        "phone: user.phone",
        "email: user.email",
        "client_user_id: user.client_user_id",
        "custom_identifiers: user.custom_identifiers",
        "occurred_at: occurred_at",
    )
