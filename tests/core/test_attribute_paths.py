"""Attributes from several places of a record: single fields, nested records, maps in other forms, odd numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.support.avro import NOWHERE, body, fields, record
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping
from worker.core.model import Event

OPTIONAL = ["null", "string"]
ADDRESS = fields(
    ("city", "string"),
    ("geo", fields(("zone", "int"), name="Geo")),
    ("tags", {"type": "array", "items": "int"}),
    name="Address",
)
CUSTOMER = fields(
    ("id", "string"),
    ("tier", OPTIONAL),
    ("homeAddress", ["null", ADDRESS]),
    ("workAddress", ["null", "Address"]),
    ("traits", {"type": "map", "values": "string"}),
)
ANN = {
    "id": "u1",
    "tier": None,
    "homeAddress": {"city": "Lyon", "geo": {"zone": 7}, "tags": [1]},
    "workAddress": None,
    "traits": {"colour": "blue", "tier": "from traits"},
}


def event_of(schema: Any, datum: object, **settings: Any) -> Event:  # noqa: ANN401 - a schema; Mapping's fields
    mapping = Mapping(**{**NOWHERE, **settings})
    event = Decoder(mapping, writer_schema=schema).decode(record(body(schema, datum)))
    assert event is not None
    return event


def attributes(schema: Any, datum: object, paths: str, **settings: Any) -> dict[str, object]:  # noqa: ANN401 - as above
    return dict(event_of(schema, datum, attributes=paths, **settings).attributes)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("*", {"id": "u1", "tier": None}),
        ("*, homeAddress.city", {"id": "u1", "tier": None, "city": "Lyon"}),
        ("homeAddress.city", {"city": "Lyon"}),
        ("town = homeAddress.city, homeAddress.geo.zone", {"town": "Lyon", "zone": 7}),
        ("workAddress.city | homeAddress.city", {"city": "Lyon"}),
        ("tier | id", {"id": "u1"}),
        ("tier", {"tier": None}),
        ("workAddress.city", {}),
        ("homeAddress.*, tier", {"city": "Lyon", "tier": None}),
        ("traits.colour", {"colour": "blue"}),
        ("traits.size", {}),
        ("tier, traits", {"colour": "blue", "tier": None}),
        ("traits, tier", {"colour": "blue", "tier": "from traits"}),
        ("*, level=tier", {"id": "u1", "level": None}),
    ],
)
def test_attributes_come_from_every_path_and_the_first_one_counts(paths: str, expected: dict[str, object]) -> None:
    assert attributes(CUSTOMER, ANN, paths) == expected


def test_single_fields_take_prefix_rename_and_exclude() -> None:
    paths = "*, homeAddress.city, here=homeAddress.geo.zone"
    settings = {"prefix": "crm_", "rename": {"city": "Home city"}, "exclude": ("tier",)}
    assert attributes(CUSTOMER, ANN, paths, **settings) == {"crm_id": "u1", "Home city": "Lyon", "here": 7}


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ("homeAddress.city, workAddress.city", "the same name"),
        ("*, tier=homeAddress.city", "the same name"),
        ("home=homeAddress", "home=homeAddress is not one scalar field"),
        ("homeAddress.tags", "homeAddress.tags is neither a map, a record nor a scalar"),
        ("*, homeAdress.city", "this schema has no homeAdress.city"),
    ],
)
def test_paths_that_do_not_fit_are_told(paths: str, why: str) -> None:
    with pytest.raises((ValueError, Undecodable), match=why):
        attributes(CUSTOMER, ANN, paths)


def test_nested_records_are_flattened_with_a_separator() -> None:
    flat = {"id": "u1", "tier": None, "homeAddress_city": "Lyon", "homeAddress_geo_zone": 7}
    assert attributes(CUSTOMER, ANN, "*", flatten="_") == flat
    assert attributes(CUSTOMER, ANN, "homeAddress.*", flatten=".") == {"city": "Lyon", "geo.zone": 7}
    named = attributes(CUSTOMER, ANN, "*, town=homeAddress.city", flatten="_", rename={"homeAddress_geo_zone": "Zone"})
    assert named == {"id": "u1", "tier": None, "town": "Lyon", "Zone": 7}, (
        "a field with a path of its own is taken once"
    )
    without = attributes(
        CUSTOMER, ANN, "*", flatten="_", exclude=("homeAddress_geo_*",), client_user_id="homeAddress.city"
    )
    assert without == {"id": "u1", "tier": None}, "what names the user is no attribute"


def test_a_union_of_records_is_flattened_by_what_is_there() -> None:
    one, other = fields(("a", "int"), name="One"), fields(("a", "string"), ("b", "int"), name="Other")
    schema = fields(("x", [one, other]))
    assert attributes(schema, {"x": ("One", {"a": 1})}, "*", flatten="_") == {"x_a": 1}
    assert attributes(schema, {"x": ("Other", {"a": "s", "b": 2})}, "*", flatten="_") == {"x_a": "s", "x_b": 2}


def test_a_type_inside_itself_ends_there() -> None:
    tree = fields(("name", "string"), ("next", ["null", "Tree"]), name="Tree")
    datum = {"name": "a", "next": {"name": "b", "next": None}}
    assert attributes(tree, datum, "*", flatten="_") == {"name": "a"}


def test_types_that_hold_each_other_many_times_are_refused_in_time() -> None:
    """Sixteen types of two fields each make 2^15 paths."""
    schema: Any = fields(("x", "int"), name="T0")
    for level in range(1, 16):
        schema = fields(("a", schema), ("b", f"T{level - 1}"), name=f"T{level}")
    with pytest.raises(ValueError, match="more than 20000 fields"):
        Decoder(Mapping(**NOWHERE, attributes="*", flatten="_"), writer_schema=schema)


def entries(name: str, key: Any, value: Any, **marks: str) -> dict[str, Any]:  # noqa: ANN401 - schemas
    return {"type": "array", "items": fields(("key", key), ("value", value), name=name), **marks}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (entries("MapEntry", "string", OPTIONAL), {"colour": "blue", "size": None}),
        (
            entries("KsqlDataSourceSchema_TRAITS", OPTIONAL, OPTIONAL, **{"connect.internal.type": "MapEntry"}),
            {"colour": "blue", "size": None},
        ),
        (entries("MapEntry", "int", "string"), {"7": "blue"}),
    ],
)
def test_a_map_of_entries_is_a_map(form: Any, expected: dict[str, object]) -> None:  # noqa: ANN401 - a schema
    """Kafka Connect and ksqlDB write maps as arrays of records, Connect where keys are no text."""
    schema = fields(("traits", ["null", form]))
    rows = [{"key": int(name) if name.isdigit() else name, "value": value} for name, value in expected.items()]
    assert attributes(schema, {"traits": rows}, "traits") == expected
    assert attributes(schema, {"traits": rows}, "traits", prefix="p_") == {f"p_{k}": v for k, v in expected.items()}
    assert attributes(schema, {"traits": None}, "traits") == {}
    first = next(iter(expected))
    event = event_of(
        schema, {"traits": rows}, attributes=f"traits.{first}", email=f"traits.{first}", custom_identifiers="traits"
    )
    assert (event.attributes, event.user.email, event.user.custom) == ({first: "blue"}, "blue", ((first, "blue"),))


def test_an_array_of_other_records_is_no_map() -> None:
    for form in (entries("Pair", "bytes", "string"), {"type": "array", "items": fields(("key", "string"), name="Key")}):
        with pytest.raises(ValueError, match="neither a map"):
            Decoder(Mapping(**NOWHERE, attributes="traits"), writer_schema=fields(("traits", form)))


def variable(**extra: str) -> dict[str, Any]:
    return {**fields(("scale", "int"), ("value", "bytes"), name="VariableScaleDecimal"), **extra}


@pytest.mark.parametrize(
    "kind",
    [variable(**{"connect.name": "io.debezium.data.VariableScaleDecimal"}), variable(namespace="io.debezium.data")],
)
def test_a_decimal_with_its_own_scale_is_a_number(kind: Any) -> None:  # noqa: ANN401 - a schema
    """Debezium writes Oracle's NUMBER so."""
    schema = fields(
        ("id", kind),
        ("balance", ["null", kind["name"] if "connect.name" in kind else "io.debezium.data.VariableScaleDecimal"]),
    )
    datum = {"id": {"scale": 0, "value": b"\x30\x39"}, "balance": {"scale": 2, "value": b"\xff\x85"}}
    event = event_of(schema, datum, attributes="*", client_user_id="id")
    assert (event.user.client_user_id, event.attributes) == ("12345", {"balance": Decimal("-1.23")})
    assert (
        event_of(
            schema, {**datum, "id": {"scale": -2, "value": b"\x05"}}, client_user_id="id", attributes="balance"
        ).user.client_user_id
        == "500"
    )
    reader = Decoder(Mapping(**NOWHERE, attributes="balance"), writer_schema=schema, reader_schema=schema)
    resolved = reader.decode(record(body(schema, datum)))
    assert resolved is not None
    assert resolved.attributes == {"balance": Decimal("-1.23")}


def test_a_variable_decimal_of_absurd_size_stays_a_record() -> None:
    schema = fields(("n", variable(namespace="io.debezium.data")))
    for scale, value in ((10**9, b"\1"), (-(10**9), b"\1"), (0, b"\1" * 65)):
        assert attributes(schema, {"n": {"scale": scale, "value": value}}, "*") == {
            "n": {"scale": scale, "value": value}
        }


CONTACTS = fields(
    ("customer_id", "string"),
    ("mobilePhone", OPTIONAL),
    ("emailAddress2", OPTIONAL),
    ("MSISDN", "long"),
    ("phone_verified", "boolean"),
    ("email_opt_in", "string"),
    ("phoneModel", "string"),
    ("note", OPTIONAL),
    ("referrer", OPTIONAL),
    ("detail", fields(("contact_email", "string"), ("hobby", "string"), name="Detail")),
)
BOB: dict[str, Any] = {
    "customer_id": "c1",
    "mobilePhone": "3115552368",
    "emailAddress2": None,
    "MSISDN": 13115552368,
    "phone_verified": True,
    "email_opt_in": "yes",
    "phoneModel": "X9",
    "note": "+13115552368",
    "referrer": "ann@shop.example",
    "detail": {"contact_email": "b@shop.example", "hobby": "a@b"},
}
HARMLESS = {"customer_id": "c1", "phone_verified": True, "email_opt_in": "yes", "phoneModel": "X9"}


def test_fields_that_look_like_a_phone_or_an_address_are_kept_back_beside_a_star() -> None:
    event = event_of(CONTACTS, BOB, attributes="*")
    assert (event.attributes, event.kept_back) == (HARMLESS, ("note", "referrer"))
    quiet = event_of(CONTACTS, {**BOB, "note": "+ 1", "referrer": "@ann"}, attributes="*")
    assert (quiet.attributes, quiet.kept_back) == ({**HARMLESS, "note": "+ 1", "referrer": "@ann"}, ())
    flat = event_of(CONTACTS, BOB, attributes="*", flatten="_")
    assert flat.attributes == {**HARMLESS, "detail_hobby": "a@b"}


def test_they_are_sent_if_they_are_named() -> None:
    named = event_of(CONTACTS, BOB, attributes="*, mobilePhone, mail=referrer", rename={"note": "Note"})
    assert named.attributes == {
        **HARMLESS,
        "mobilePhone": "3115552368",
        "mail": "ann@shop.example",
        "Note": "+13115552368",
    }
    traits = fields(("traits", {"type": "map", "values": "string"}))
    assert attributes(traits, {"traits": {"email": "a@b.example"}}, "traits") == {"email": "a@b.example"}, (
        "a map is chosen"
    )


def test_check_can_tell_which_fields_are_kept_back_by_name() -> None:
    decoder = Decoder(Mapping(**NOWHERE, attributes="*, detail.*"))
    assert decoder.kept_back(CONTACTS) == ("mobilePhone", "emailAddress2", "MSISDN", "detail.contact_email")
    assert Decoder(Mapping(**{**NOWHERE, "phone": "mobilePhone|MSISDN"}, attributes="*")).kept_back(CONTACTS) == (
        "emailAddress2",
    )


def test_check_can_tell_which_fields_are_left_out_and_one_with_a_path_of_its_own_is_not() -> None:
    def left_out(attributes: str) -> set[str]:
        return set(Decoder(Mapping(**NOWHERE, attributes=attributes)).left_out(CUSTOMER))

    assert left_out("*") == {"homeAddress", "workAddress", "traits"}
    assert left_out("*, traits, homeAddress.*") == {"workAddress", "homeAddress.geo", "homeAddress.tags"}
