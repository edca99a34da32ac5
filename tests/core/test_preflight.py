"""What preflight accepts, renders, refuses and passes over."""

from __future__ import annotations

import math
import struct
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.avro import fields, record, varint
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import Checked, Event, Reason, Unusable, User
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

ANN = User(phone="+13115552368")


def checked(attributes: dict[str, object], user: User = ANN, **rules: Any) -> Checked:  # noqa: ANN401 - AttributeRules
    return Preflight(IdentityRules(), AttributeRules(**rules)).check(Event(user, attributes))


def sent(kind: Any, raw: bytes, **rules: Any) -> Checked:  # noqa: ANN401 - a schema; AttributeRules
    """Decodes and checks an event with one attribute, `value`, of this Avro type and these bytes."""
    mapping = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="*")
    schema = fields(("id", "string"), ("value", ["null", kind]))
    event = Decoder(mapping, writer_schema=schema).decode(record(varint(1) + b"u" + varint(1) + raw))
    assert event is not None
    return Preflight(IdentityRules(), AttributeRules(**rules)).check(event)


def logical(base: str, kind: str, /, **more: object) -> dict[str, object]:
    return {"type": base, "logicalType": kind, **more}


DATE, MILLIS, MICROS = (
    logical("int", "date"),
    logical("long", "timestamp-millis"),
    logical("long", "timestamp-micros"),
)
DECIMAL = logical("bytes", "decimal", precision=4, scale=2)
FIXED_UUID = logical("fixed", "uuid", size=16, name="Id")


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("boolean", b"\1", True),
        ("long", varint(2**63 - 1), 2**63 - 1),
        ("double", struct.pack("<d", 0.1), 0.1),
        ("string", varint(2) + b"hi", "hi"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, varint(1), "B"),
        (DATE, varint(19_000), "2022-01-08"),
        (DATE, varint(-719_162), "0001-01-01"),
        (MILLIS, varint(1_700_000_000_000), "2023-11-14T22:13:20Z"),
        (MILLIS, varint(1_700_000_000_120), "2023-11-14T22:13:20.12Z"),
        (MILLIS, varint(-1), "1969-12-31T23:59:59.999Z"),
        (MICROS, varint(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z"),
        (logical("long", "timestamp-nanos"), varint(1_700_000_000_000_000_010), "2023-11-14T22:13:20.00000001Z"),
        (logical("long", "timestamp-nanos"), varint(-(2**63)), "1677-09-21T00:12:43.145224192Z"),
        (logical("long", "local-timestamp-millis"), varint(1_500), "1970-01-01T00:00:01.5"),
        (logical("long", "local-timestamp-micros"), varint(0), "1970-01-01T00:00:00"),
        (logical("long", "local-timestamp-nanos"), varint(1), "1970-01-01T00:00:00.000000001"),
        (logical("int", "time-millis"), varint(86_399_999), "23:59:59.999"),
        (logical("long", "time-micros"), varint(3_600_000_000), "01:00:00"),
        (DECIMAL, varint(2) + b"\x01\x00", Decimal("2.56")),
        (DECIMAL, varint(0), Decimal("0.00")),
        (
            DECIMAL,
            varint(16) + b"\x7f" + b"\xff" * 15,
            Decimal(f"{2**127 - 1}E-2"),
        ),
        (logical("fixed", "decimal", size=2, name="D", precision=4), b"\xff\xff", Decimal(-1)),
        (logical("string", "uuid"), varint(9) + b"no uuid 1", "no uuid 1"),
        (FIXED_UUID, bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (logical("long", "date"), varint(5), 5),
        (logical("string", "custom"), varint(1) + b"x", "x"),
    ],
)
def test_a_value_is_rendered_in_a_form_that_the_api_accepts(kind: Any, raw: bytes, expected: object) -> None:  # noqa: ANN401 - a schema
    outcome = sent(kind, raw)
    assert outcome.refusals == ()
    value = outcome.accepted["value"]
    assert type(value) is type(expected)
    assert repr(value) == repr(expected)


@pytest.mark.parametrize(
    ("kind", "raw", "says"),
    [
        (DATE, varint(2**31 - 1), "date or time"),
        (MILLIS, varint(2**63 - 1), "date or time"),
        (MICROS, varint(-(2**63)), "date or time"),
        (logical("int", "time-millis"), varint(86_400_000), "date or time"),
        (logical("int", "time-millis"), varint(-1), "date or time"),
        ("double", struct.pack("<d", math.nan), "NaN"),
        ("double", struct.pack("<d", -math.inf), "infinite"),
        ("float", struct.pack("<f", math.inf), "infinite"),
        (DECIMAL, varint(65) + b"\1" * 65, "bytes"),
    ],
)
def test_a_value_that_the_api_cannot_hold_is_refused_and_kept_raw(kind: Any, raw: bytes, says: str) -> None:  # noqa: ANN401 - a schema
    outcome = sent(kind, raw)
    (refusal,) = outcome.refusals
    assert outcome.key is not None
    assert (refusal.reason, dict(outcome.accepted)) == (Reason.UNSUPPORTED_VALUE, {})
    assert says in refusal.detail
    assert refusal.attributes["value"] is not None


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(
        [
            "date",
            "time-millis",
            "time-micros",
            "timestamp-millis",
            "timestamp-micros",
            "timestamp-nanos",
            "local-timestamp-millis",
            "local-timestamp-nanos",
        ]
    ),
)
def test_any_number_of_a_date_or_time_type_is_either_accepted_or_refused(number: int, name: str) -> None:
    base = "int" if name in {"date", "time-millis"} else "long"
    if base == "int":
        number %= 2**31
    outcome = sent(logical(base, name), varint(number))
    assert len(outcome.accepted) + len(outcome.refusals) == 1


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        (logical("long", "timestamp-nanos"), 10, "1970-01-01T00:00:00.00000001Z"),
        (logical("long", "local-timestamp-nanos"), 10, "1970-01-01T00:00:00.00000001"),
        (MILLIS, 2**62, 2**62),
    ],
)
def test_a_refused_value_is_of_a_plain_type(kind: Any, number: int, expected: object) -> None:  # noqa: ANN401 - a schema
    mapping = Mapping(phone="", email="", client_user_id="", custom_identifiers="", attributes="*")
    decoder = Decoder(mapping, writer_schema=fields(("value", kind)))
    event = decoder.decode(record(varint(number)))
    assert event is not None
    (refusal,) = Preflight(IdentityRules(), AttributeRules()).check(event).refusals
    assert refusal.reason is Reason.NO_IDENTITY
    assert refusal.attributes["value"] == expected
    assert type(refusal.attributes["value"]) in {int, str}


def test_one_refusal_names_all_arrays_objects_and_bytes() -> None:
    raw: dict[str, object] = {"city": ["chicago"], "address": {"zip": "1"}, "photo": b"secret", "visits": 3}
    outcome = checked(raw)
    (refusal,) = outcome.refusals
    assert dict(outcome.accepted) == {"visits": 3}
    assert refusal.detail == "city: an array; address: an object; photo: bytes"
    assert dict(refusal.attributes) == {"city": ["chicago"], "address": {"zip": "1"}, "photo": b"secret"}


def test_a_detail_is_bounded_however_many_and_however_long_the_names() -> None:
    outcome = checked({f"{'n' * 150}{number}": [] for number in range(1_000)})
    (refusal,) = outcome.refusals
    assert len(refusal.detail) < 600
    assert refusal.detail.endswith("and 995 more")
    assert len(refusal.attributes) == 1_000


@pytest.mark.parametrize(
    ("nulls", "accepted", "reasons", "passed_over"),
    [
        ("drop", {}, [], 1),
        ("reject", {}, [Reason.UNSUPPORTED_VALUE], 0),
        ("empty_string", {"gone": ""}, [], 0),
    ],
)
def test_nulls_are_dropped_rejected_or_sent_as_empty_text(
    nulls: str, accepted: dict[str, object], reasons: list[Reason], passed_over: int
) -> None:
    outcome = checked({"gone": None}, nulls=nulls)
    assert dict(outcome.accepted) == accepted
    assert [refusal.reason for refusal in outcome.refusals] == reasons
    assert outcome.passed_over == passed_over


@pytest.mark.parametrize("nulls", ["drop", "reject", "empty_string"])
def test_a_denied_name_is_sensitive_whatever_its_value(nulls: str) -> None:
    """Except a null where nulls are dropped: else a table with an unused `ssn` column makes a letter of each row."""
    outcome = checked({"ssn": None, "passport_number": ["x"], "CVV": "123"}, nulls=nulls)
    (refusal,) = outcome.refusals
    assert refusal.reason is Reason.SENSITIVE_DATA
    denied = {"passport_number": None, "CVV": None} | ({} if nulls == "drop" else {"ssn": None})
    assert (dict(refusal.attributes), outcome.passed_over) == (denied, nulls == "drop")
    assert "123" not in refusal.detail


def test_names_that_the_api_refuses_are_refused_before_any_call() -> None:
    outcome = checked({"": 1, "n" * 201: 2, "n" * 200: 3, " ": 4})
    (refusal,) = outcome.refusals
    assert refusal.reason is Reason.INVALID_ATTRIBUTE_NAME
    assert set(outcome.accepted) == {"n" * 200, " "}
    assert dict(refusal.attributes) == {"": 1, "n" * 201: 2}


def test_each_reason_gets_its_own_refusal() -> None:
    outcome = checked({"ssn": 1, "": 2, "list": [], "ok": 3})
    assert {refusal.reason for refusal in outcome.refusals} == {
        Reason.SENSITIVE_DATA,
        Reason.INVALID_ATTRIBUTE_NAME,
        Reason.UNSUPPORTED_VALUE,
    }
    assert dict(outcome.accepted) == {"ok": 3}


def test_without_an_identity_one_refusal_carries_all_values_except_denied_ones() -> None:
    outcome = checked({"city": "Lyon", "list": [1], "ssn": "123"}, User(email="  "))
    (refusal,) = outcome.refusals
    assert (outcome.key, dict(outcome.accepted)) == (None, {})
    assert refusal.reason is Reason.NO_IDENTITY
    assert dict(refusal.attributes) == {"city": "Lyon", "list": [1], "ssn": None}


def test_a_malformed_identity_is_one_refusal_with_all_allowed_values() -> None:
    outcome = checked({"city": "Lyon", "other": 1}, User(phone="13115552368"), allow=("c*",))
    (refusal,) = outcome.refusals
    assert refusal.reason is Reason.INVALID_IDENTITY
    assert "13115552368" not in refusal.detail
    assert (dict(refusal.attributes), outcome.passed_over) == ({"city": "Lyon"}, 1)


def test_an_event_without_attributes_is_accepted_empty() -> None:
    outcome = checked({})
    assert outcome.key is not None
    assert (dict(outcome.accepted), outcome.refusals, outcome.passed_over) == ({}, (), 0)


def test_the_repr_of_an_event_and_of_its_check_holds_no_value_and_no_identifier() -> None:
    event = Event(
        User(phone="+13115552368", custom=(("n", "secret"),)), {"city": "secret", "list": ["secret"]}, 1, "secret"
    )
    outcome = Preflight(IdentityRules(), AttributeRules()).check(event)
    assert not {"secret", "2368"} & {part for part in ("secret", "2368") if part in f"{event!r}{outcome!r}"}


@pytest.mark.parametrize("value", ["__debezium_unavailable_value", b"__debezium_unavailable_value"])
def test_a_value_that_the_producer_does_not_know_is_passed_over_and_counted(value: object) -> None:
    """Debezium writes this for a large column that an update did not change. Sent, it would replace the good value."""
    found = checked({"about_me": value, "tier": "gold", "ssn": value})
    assert (dict(found.accepted), found.refusals, found.passed_over) == ({"tier": "gold"}, (), 2)
    nobody = checked({"about_me": value}, User(email="__debezium_unavailable_value"))
    assert [refusal.reason for refusal in nobody.refusals] == [Reason.NO_IDENTITY]
    assert nobody.passed_over == 1


def test_texts_for_unknown_values_are_a_setting() -> None:
    own = checked({"a": "n/a", "b": "__debezium_unavailable_value", "c": "n/a "}, unknown_values=("n/a",))
    assert (dict(own.accepted), own.passed_over) == ({"b": "__debezium_unavailable_value", "c": "n/a "}, 1)
    assert dict(checked({"b": "__debezium_unavailable_value"}, unknown_values=()).accepted)


def test_an_identifier_that_the_producer_does_not_know_is_absent() -> None:
    user = User("__debezium_unavailable_value", "ann@example.com", custom=(("id", "__debezium_unavailable_value"),))
    everything = Preflight(IdentityRules(send="all"), AttributeRules()).check(Event(user, {"a": 1}))
    assert (everything.user, everything.refusals) == (User(email="ann@example.com"), ())


def test_a_record_is_delivered_without_the_invalid_identifier_that_names_nobody() -> None:
    event = Event(User("junk", "a@b.example"), {"tier": "gold"}, unusable=(Unusable("custom", "an array"),))
    checked = Preflight(IdentityRules(("email", "phone"), "all"), AttributeRules()).check(event)
    assert (checked.user, checked.accepted, checked.refusals) == (User(email="a@b.example"), {"tier": "gold"}, ())
    assert checked.dropped_identifiers == 2


def test_events_share_the_text_of_a_name() -> None:
    """Each is decoded with texts of its own, and a job keeps a million of them."""
    preflight = Preflight(IdentityRules(), AttributeRules())
    events = [Event(ANN, {"loyalty_" + "tier".lower(): value}) for value in ("gold", "silver", date(2026, 3, 1))]
    (first,), *others = [preflight.check(event).accepted for event in events]
    assert all(name is first for (name,) in others)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "n/a", b"n/a", None, [1], {"a": 1}, b"x", True, 0.5])
def test_a_name_that_was_sent_before_is_judged_by_its_value_as_a_new_one(value: object) -> None:
    rules = AttributeRules(unknown_values=("n/a",))
    known = Preflight(IdentityRules(), rules)
    known.check(Event(ANN, {"score": 1}))
    event = Event(ANN, {"score": value, "tier": "gold"})
    assert known.check(event) == Preflight(IdentityRules(), rules).check(event)


def test_attributes_keep_their_order_when_their_names_are_new() -> None:
    names = ["tier", "age", "store", "vip"]
    preflight = Preflight(IdentityRules(), AttributeRules())
    event = Event(User(phone="+13115552368"), dict.fromkeys(names[:2], 1))
    assert list(preflight.check(event).accepted) == names[:2]
    event = Event(User(phone="+13115552368"), dict.fromkeys(["store", "age", "vip", "tier"], 1))
    assert [list(preflight.check(event).accepted) for _ in range(2)] == [["store", "age", "vip", "tier"]] * 2
