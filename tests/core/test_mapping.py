"""The mapping: paths, aliases, alternatives, and attributes from maps and records."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.avro import NOWHERE, body, fields, record
from worker.core.avro.schema import AvroType
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping, Shape, find
from worker.core.model import Event, User

NOTHING = {**NOWHERE, "attributes": ""}


def mapped(schema: Any, datum: object, **settings: Any) -> Event | None:  # noqa: ANN401 - a schema; Mapping's fields
    decoder = Decoder(Mapping(**{**NOTHING, **settings}), writer_schema=schema)
    return decoder.decode(record(body(schema, datum)))


def attributes(schema: Any, datum: object, **settings: Any) -> dict[str, object]:  # noqa: ANN401 - as above
    event = mapped(schema, datum, **settings)
    assert event is not None
    return dict(event.attributes)


ROW = fields(
    ("id", "long"),
    ("email", ["null", "string"]),
    ("tier", {"type": "enum", "name": "Tier", "symbols": ["GOLD", "BLUE"]}),
    ("points", ["null", "int"]),
    ("tags", {"type": "array", "items": "string"}),
    ("photo", ["null", "bytes"]),
    ("address", fields(("city", "string"), name="Address")),
    ("mixed", ["null", "string", {"type": "map", "values": "int"}]),
    ("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
)
DATUM = {
    "id": 12,
    "email": "a@b.example",
    "tier": "GOLD",
    "points": None,
    "tags": ["x"],
    "photo": b"x",
    "address": {"city": "Lyon"},
    "mixed": {"a": 1},
    "price": b"\x01\x00",
}


def test_a_star_takes_every_field_that_may_hold_a_scalar_and_has_no_other_use() -> None:
    found = attributes(ROW, DATUM, attributes="*", client_user_id="id", email="email")
    assert {name: str(value) for name, value in found.items()} == {
        "tier": "GOLD",
        "points": "None",
        "mixed": "{'a': 1}",
        "price": "2.56",
    }


@pytest.mark.parametrize("entries", [{"old": 1, "tier": 2}, {"tier": 2, "old": 1}], ids=["first", "last"])
def test_of_two_entries_of_a_map_with_one_name_the_renamed_one_counts(entries: dict[str, int]) -> None:
    schema = fields(("id", "string"), ("all", {"type": "map", "values": "int"}))
    datum = {"id": "u1", "all": entries}
    rule: dict[str, Any] = {"attributes": "all", "rename": {"old": "tier"}}
    assert attributes(schema, datum, **rule) == {"tier": 1}
    assert attributes(schema, datum, **rule, exclude=("old",)) == {"tier": 2}


def test_exclusions_prefix_and_renames_work_on_the_names_in_the_schema() -> None:
    found = attributes(
        ROW, DATUM, attributes="*", exclude=("mix*", "price"), prefix="crm_", rename={"tier": "Loyalty Tier"}
    )
    assert found == {"crm_id": 12, "Loyalty Tier": "GOLD", "crm_points": None}


def test_a_map_takes_the_same_settings() -> None:
    schema = fields(("props", {"type": "map", "values": ["null", "int"]}))
    datum = {"props": {"a": 1, "b": None, "tmp_c": 3}}
    assert attributes(schema, datum, attributes="props") == {"a": 1, "b": None, "tmp_c": 3}
    assert attributes(schema, datum, attributes="props.*", exclude=("tmp_*",), prefix="p.", rename={"a": "A"}) == {
        "A": 1,
        "p.b": None,
    }


def test_a_record_needs_no_star_and_null_is_empty() -> None:
    schema = fields(("profile", ["null", fields(("city", "string"), name="Profile")]))
    assert attributes(schema, {"profile": {"city": "Lyon"}}, attributes="profile") == {"city": "Lyon"}
    assert attributes(schema, {"profile": None}, attributes="profile.*") == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("profil.*", "this schema has no profil"),
        ("profile.adress", "has no profile.adress"),
        ("before|after", "no before|after"),
        ("profile", "no field of profile is a scalar"),
    ],
)
def test_a_record_whose_schema_has_nothing_at_the_attributes_path_is_not_passed_over(path: str, why: str) -> None:
    """A typo, or a producer's renamed field, would lose every change in silence."""
    inner = fields(("tags", {"type": "array", "items": "string"}), name="Profile")
    with pytest.raises(Undecodable, match=f"{re.escape(why)}.*WORKER_MAPPING__ATTRIBUTES"):
        attributes(fields(("profile", inner)), {"profile": {"tags": []}}, attributes=path)


def test_rules_leave_a_record_out_before_its_attributes_are_looked_for() -> None:
    schema = fields(("kind", "string"), ("row", ["null", "string"]))
    for rule in ({"ignore_when": ("kind=deleted",)}, {"ignore_when_null": "row"}, {"types": ("Other", "*.Changed")}):
        mapping = Mapping(**{**NOTHING, "attributes": "after.*", **rule})
        assert (
            Decoder(mapping, writer_schema=schema).decode(record(body(schema, {"kind": "deleted", "row": None})))
            is None
        )


@pytest.mark.parametrize(
    ("patterns", "taken"), [((), True), (("Chang*",), True), (("crm.v1.*",), True), (("Deleted", "crm.v2.*"), False)]
)
def test_record_types_are_taken_by_name(patterns: tuple[str, ...], taken: bool) -> None:  # noqa: FBT001 - an expected result
    schema = {**fields(("tier", "string"), name="Changed"), "namespace": "crm.v1"}
    mapping = Mapping(**{**NOTHING, "attributes": "*", "types": patterns})
    event = Decoder(mapping, writer_schema=schema).decode(record(body(schema, {"tier": "gold"})))
    assert (event is not None) is taken
    union = [fields(("x", "int"), name="Deleted"), schema]
    event = Decoder(mapping, writer_schema=union).decode(record(body(union, {"tier": "gold"})))
    assert event is not None


def test_a_mapping_that_does_not_fit_a_schema_says_why() -> None:
    with pytest.raises(ValueError, match="tags is neither a map, a record nor a scalar"):
        Decoder(Mapping(**{**NOTHING, "attributes": "tags"}), writer_schema=ROW)
    with pytest.raises(ValueError, match="same name"):
        Decoder(Mapping(**{**NOTHING, "attributes": "*", "rename": {"tier": "points"}}), writer_schema=ROW)


def test_a_part_of_a_path_matches_a_name_before_an_alias() -> None:
    schema = fields(("new", "string"), ("old2", "string"), new={"aliases": ["old", "old2"]})
    datum = {"new": "n", "old2": "o"}
    old, old2 = mapped(schema, datum, client_user_id="old"), mapped(schema, datum, client_user_id="old2")
    assert old is not None
    assert old2 is not None
    assert (old.user.client_user_id, old2.user.client_user_id) == ("n", "o")
    assert attributes(schema, datum, attributes="*", rename={"old": "kept"}) == {"kept": "n", "old2": "o"}


def test_the_first_present_alternative_is_taken() -> None:
    text = ["null", "string"]
    schema = fields(("a", text), ("b", text), ("deep", ["null", fields(("c", text), name="Deep")]))
    for datum, expected in (
        ({"a": "1", "b": "2", "deep": None}, "1"),
        ({"a": " ", "b": None, "deep": {"c": "3"}}, "3"),
        ({"a": None, "b": None, "deep": None}, None),
    ):
        event = mapped(schema, datum, client_user_id="gone | a | b | deep.c")
        assert event is not None
        assert event.user.client_user_id == expected


def test_a_path_goes_into_maps_named_types_and_unions_of_records() -> None:
    """One topic may carry several record types; the same path works in each of them."""
    user = fields(("id", "string"), name="User")
    first = fields(("user", user), ("props", {"type": "map", "values": "string"}), name="First")
    second = fields(("user", "User"), ("props", {"type": "map", "values": "string"}), name="Second")
    for name in ("First", "Second"):
        event = mapped(
            [first, second],
            (name, {"user": {"id": "u"}, "props": {"mail": "m"}}),
            client_user_id="user.id",
            email="props.mail",
        )
        assert event is not None
        assert (event.user.client_user_id, event.user.email) == ("u", "m")


def test_custom_identifiers_come_from_pairs_a_map_or_an_array() -> None:
    schema = fields(("no", "long"), ("crm", ["null", "string"]), ("ids", {"type": "map", "values": ["null", "string"]}))
    datum = {"no": 5, "crm": None, "ids": {"a": "1", "b": None}}
    pairs = mapped(schema, datum, custom_identifiers="loyalty = no, crm=crm", attributes="*")
    entries = mapped(schema, datum, custom_identifiers="ids")
    assert pairs is not None
    assert entries is not None
    assert pairs.user.custom == (("loyalty", "5"),)
    assert pairs.attributes == {}
    assert entries.user.custom == (("a", "1"),)
    neither = mapped(schema, datum, custom_identifiers="no")
    assert neither is not None
    ((kind, fault),) = neither.unusable
    assert (kind, fault.partition(" a ")[0]) == ("custom", "custom_identifiers: neither")


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38}


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("long", 2**62, str(2**62)),
        (DECIMAL, Decimal(12345678901234567890123456789012345678), "12345678901234567890123456789012345678"),
        (DECIMAL, Decimal(0), "0"),
        ({**DECIMAL, "scale": 2}, Decimal("12.00"), "12"),
        ("double", 13115552368.0, "13115552368"),
    ],
)
def test_an_identifier_may_be_a_whole_number_of_any_type(kind: Any, value: object, text: str) -> None:  # noqa: ANN401 - a schema
    """A database's numeric keys come as decimals of scale 0, or as floats."""
    schema = fields(("id", kind), ("ids", {"type": "map", "values": kind}))
    event = mapped(schema, {"id": value, "ids": {"crm": value}}, client_user_id="id", custom_identifiers="ids")
    assert event is not None
    assert (event.user.client_user_id, event.user.custom, event.unusable) == (text, (("crm", text),), ())


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        ("double", 1.5, "float"),
        ("double", 2.0**60, "float"),
        ({**DECIMAL, "scale": 2}, Decimal("12.50"), "Decimal"),
        ("boolean", True, "bool"),
        ({"type": "array", "items": "string"}, ["+13115552368"], "list"),
        ({"type": "int", "logicalType": "date"}, 19723, "date"),
    ],
)
def test_what_is_neither_text_nor_a_whole_number_names_nobody(kind: Any, value: object, what: str) -> None:  # noqa: ANN401 - as above
    event = mapped(
        fields(("id", kind), ("email", "string")), {"id": value, "email": "a@b.example"}, phone="id", email="email"
    )
    assert event is not None
    assert event.user == User(email="a@b.example")
    assert event.unusable == (("phone", f"phone: the field holds {what}; text or a whole number is needed"),)


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("long", 1_700_000_000_123, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_123, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1_700_000_000_123_999, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_700_000_000_123_999_999, 1_700_000_000_123),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 5, 5),
        ({"type": "long", "logicalType": "timestamp-millis"}, 2**62, None),
        ("string", "2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("string", "2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("string", "2023-11-14 22:13:20", 1_700_000_000_000),
        ("string", "yesterday", None),
        (["null", "long"], None, None),
        ("boolean", True, None),
    ],
)
def test_the_time_of_a_change_is_read_from_numbers_and_text(kind: Any, raw: object, expected: int | None) -> None:  # noqa: ANN401 - a schema
    event = mapped(fields(("at", kind)), {"at": raw}, occurred_at="at")
    assert event is not None
    assert event.occurred_at_ms == expected


def test_a_record_is_passed_over_if_the_path_of_ignore_when_null_is_null() -> None:
    schema = fields(("after", ["null", fields(("city", "string"), name="After")]))
    rule = {"attributes": "after.*", "ignore_when_null": "after"}
    assert mapped(schema, {"after": None}, **rule) is None
    assert attributes(schema, {"after": {"city": "Lyon"}}, **rule) == {"city": "Lyon"}
    assert attributes(schema, {"after": {"city": "Lyon"}}, **{**rule, "ignore_when_null": "absent"}) == {"city": "Lyon"}


@pytest.mark.parametrize(
    "settings",
    [
        {"phone": "user..phone"},
        {"email": "a|"},
        {"client_user_id": "user.*"},
        {"attributes": "*.x"},
        {"custom_identifiers": "loyalty="},
        {"rename": {"a": "x", "b": "x"}},
        {"rename": {"a": ""}},
    ],
)
def test_a_malformed_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}"):
        Mapping(**settings)


def test_a_datetime_before_1970_is_a_negative_number() -> None:
    kind = {"type": "long", "logicalType": "timestamp-millis"}
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    event = mapped(fields(("at", kind)), {"at": moment}, occurred_at="at")
    assert event is not None
    assert event.occurred_at_ms == -1


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        ("string", "true", "deleted=true"),
        ("string", "true", " deleted = true "),
        ("boolean", True, "deleted=true"),
        (["null", "boolean"], True, "other=1,deleted=true"),
        (["null", "string"], None, "deleted=null"),
        ("long", 7, "deleted=7"),
        ("double", 7.0, "deleted=7"),
        ({"type": "enum", "name": "E", "symbols": ["KEPT", "GONE"]}, "GONE", "deleted=GONE"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, b"\x01\x2c", "deleted=3"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2},
            (123456789012345678901234567890_10).to_bytes(16, "big"),
            "deleted=123456789012345678901234567890.1",
        ),
        ({"type": "int", "logicalType": "date"}, 19_723, "deleted=2024-01-01"),
        ("string", "a=b", "deleted=a=b"),
        ("string", "yes", "absent | deleted=yes"),
        (["null", {"type": "map", "values": "string"}], {"by": "ann"}, "deleted.by=ann"),
    ],
)
def test_a_record_with_a_value_of_ignore_when_is_passed_over(kind: Any, value: object, rule: str) -> None:  # noqa: ANN401 - a schema
    schema = fields(("id", "string"), ("deleted", kind), ("tier", "string"))
    mapping = {"attributes": "*", "ignore_when": tuple(rule.split(","))}
    datum = {"id": "u1", "deleted": value, "tier": "gold"}
    assert mapped(schema, datum, **mapping) is None
    assert mapped(schema, datum, **{**mapping, "ignore_when": (rule + "!",)}) is not None


def test_a_record_without_a_value_of_ignore_when_is_taken_without_that_field() -> None:
    schema = fields(("deleted", "string"), ("tier", "string"))
    rule = {"attributes": "*", "ignore_when": ("deleted=true", "absent=null")}
    assert attributes(schema, {"deleted": "false", "tier": "gold"}, **rule) == {"tier": "gold"}


def test_a_value_without_a_form_as_text_matches_nothing() -> None:
    assert attributes(ROW, DATUM, attributes="*", ignore_when=("tags=x", "photo=x", "address=Lyon", "mixed=1"))


@pytest.mark.parametrize("pair", ["deleted", "=true", "a..b=true", "a.*=true"])
def test_an_ignore_when_that_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(ValueError, match="ignore_when"):
        Mapping(ignore_when=(pair,))


def test_a_path_through_unions_of_many_records_finds_each_type_once() -> None:
    """A schema of 2 MiB has millions of ways to a few hundred types."""
    inner = [{"type": "fixed", "name": f"C{n}", "size": 1} for n in range(9)]
    middle = [fields(("phone", inner if not n else [f"C{m}" for m in range(9)]), name=f"B{n}") for n in range(9)]
    outer = [fields(("user", middle if not n else [f"B{m}" for m in range(9)]), name=f"A{n}") for n in range(9)]
    [found] = find(Shape(AvroType(outer)), "user.phone")
    assert len(found.types) == 9
