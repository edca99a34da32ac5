"""The sandbox's Custom Attributes endpoints, over HTTP, as a developer meets Attentive's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import httpx
import pytest

from tests.sandbox.rig import PHONE, PLAIN, Rig
from worker.sandbox.service import Errors, Key, Settings


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


def test_an_upsert_is_answered_200_without_a_body_and_can_be_read_back(rig: Rig) -> None:
    response = rig.set({"Favourite colour": "blue", "Age": 24, "VIP": True})
    assert (response.status_code, response.content) == (200, b"")
    read = rig.read()
    assert read.json() == [
        {"name": "Favourite colour", "value": "blue"},
        {"name": "Age", "value": "24"},
        {"name": "VIP", "value": "true"},
    ]


def test_attributes_that_a_call_leaves_out_stay(rig: Rig) -> None:
    rig.set({"a": "1", "b": "2"})
    rig.set({"b": "3"})
    assert rig.sandbox.users() == [{"user": {"phone": PHONE}, "attributes": {"a": "1", "b": "3"}}]


def test_numbers_come_back_in_the_digits_that_were_sent(rig: Rig) -> None:
    digits = '{"a": 1.50, "b": 12345678901234567890123.4567890123456789, "c": 1e3, "d": -0}'
    rig.raw(f'{{"user": {{"phone": "{PHONE}"}}, "properties": {digits}}}'.encode())
    assert digits in rig.control("GET", "users").text
    assert rig.sandbox.users()[0]["attributes"]["b"] == Decimal("12345678901234567890123.4567890123456789")
    assert [entry["value"] for entry in rig.read().json()] == [
        "1.50",
        "12345678901234567890123.4567890123456789",
        "1e3",
        "-0",
    ]


@pytest.mark.parametrize(
    ("first", "same_type", "other_type"),
    [
        (24, ["25", -1.5], ["x", True, "1986-11-16"]),
        ("24", [25, "02134"], ["24 years", False]),
        ("02134", [90210], ["K1A 0B1"]),
        ("TRUE", [False, "false"], ["yes", 1]),
        ("1986-11-16", ["2021-04-23T16:04:33Z", "2021-04-23T16:04:33.123456789+02:00"], ["1986-13-45", 1986]),
        ("blue", ["24", "true", "2021-01-01", ""], [24, True]),
    ],
)
def test_the_first_value_of_a_name_decides_its_type_for_the_whole_account(
    rig: Rig, first: object, same_type: list[object], other_type: list[object]
) -> None:
    assert rig.set({"name": first}).status_code == 200
    for value in same_type:
        assert rig.set({"name": value}, email="other@example.com").status_code == 200
    for value in other_type:
        response = rig.set({"name": value}, email="other@example.com")
        assert response.status_code == 400
        assert message(response).startswith("Attribute 'name': expected")


def test_one_bad_attribute_refuses_the_whole_call_and_pins_nothing(rig: Rig) -> None:
    rig.set({"Age": 24})
    assert rig.set({"new": "text", "Age": "old", "VIP": True}).status_code == 400
    assert [entry["name"] for entry in rig.read().json()] == ["Age"]
    assert rig.set({"new": 1}).status_code == 200


def test_names_are_case_sensitive_and_have_at_most_200_characters(rig: Rig) -> None:
    assert rig.set({"Favorite color": "blue"}).status_code == 200
    assert rig.set({"Favorite Color": 7}).status_code == 200
    assert rig.set({"é" * 200: 1}).status_code == 200
    assert "200 characters" in message(rig.set({"n" * 201: 1}))
    assert "empty" in message(rig.set({"": 1}))


@pytest.mark.parametrize(("value", "word"), [(["a"], "arrays"), ([], "arrays"), ({"a": 1}, "objects"), (None, "null")])
def test_arrays_objects_and_nulls_are_refused_and_named(rig: Rig, value: object, word: str) -> None:
    response = rig.set({"fine": 1, "cities": value})
    assert response.status_code == 400
    assert "'cities'" in message(response)
    assert word in message(response)
    assert rig.sandbox.users() == []


def test_an_enumerated_attribute_takes_only_its_values(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, enumerations={"Group": ("Adult", "Teen", "1")}))
    assert rig.set({"Group": "Teen"}).status_code == 200
    assert rig.set({"Group": 1}).status_code == 200
    response = rig.set({"Group": "teen"})
    assert response.status_code == 400
    assert "'Group'" in message(response)


@pytest.mark.parametrize(
    "user",
    [
        {},
        None,
        "x",
        {"externalIdentifiers": {}},
        {"externalIdentifiers": {"customIdentifiers": []}},
        {"externalIdentifiers": {"customIdentifiers": {"id": "1"}}},
        {"externalIdentifiers": {"customIdentifiers": [{"name": "id"}]}},
        {"externalIdentifiers": {"shopifyId": "1"}},
        {"externalIdentifiers": {"clientUserId": "x" * 101}},
        {"externalIdentifiers": {"clientUserId": 7}},
        {"phone": PHONE, "shopifyId": "1"},
        {"phone": "13115552368"},
        {"phone": "+0311555236"},
        {"phone": PHONE, "email": None},
        {"email": "nobody"},
        {"email": "a@b@example.com"},
        {"email": f"{'x' * 90}@example.com"},
    ],
)
def test_a_user_that_is_not_well_formed_is_refused(rig: Rig, user: object) -> None:
    response = rig.client.post("/attributes/custom", json={"user": user, "properties": {"a": 1}})
    assert response.status_code == 400
    assert rig.sandbox.stats()["users"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"user": {"phone": "+13115552368"}}',
        b'{"user": {"phone": "+13115552368"}, "properties": []}',
        b'{"user": {"phone": "+13115552368"}, "properties": {"a": NaN}}',
    ],
)
def test_a_body_that_is_no_request_is_refused(rig: Rig, body: bytes) -> None:
    assert rig.raw(body).status_code == 400


def test_a_long_body_is_413_and_another_content_type_415(rig: Rig) -> None:
    assert rig.raw(b" " * (1024 * 1024 + 1)).status_code == 413
    assert rig.client.post("/attributes/custom", content=b"{}").status_code == 415


def test_a_call_with_no_properties_is_accepted_and_sets_none(rig: Rig) -> None:
    assert rig.set({}).status_code == 200
    assert rig.read().json() == []


def test_identifiers_sent_together_name_one_user_from_then_on(rig: Rig) -> None:
    """If both users had an attribute, the value that was set last stays."""
    rig.set({"first": "phone", "both": "phone"}, phone=PHONE)
    rig.set({"second": "email", "both": "email"}, email="ann@example.com")
    assert rig.sandbox.stats()["users"] == 2
    rig.set({"third": "both"}, phone=PHONE, email="ann@EXAMPLE.com", externalIdentifiers={"clientUserId": "7"})
    merged = {"first": "phone", "second": "email", "both": "email", "third": "both"}
    assert rig.sandbox.users() == [
        {
            "user": {"phone": PHONE, "email": "ann@example.com", "externalIdentifiers": {"clientUserId": "7"}},
            "attributes": merged,
        }
    ]
    assert {entry["name"]: entry["value"] for entry in rig.read(email="ann@example.com").json()} == merged


def test_a_user_linked_to_a_second_phone_shows_both(rig: Rig) -> None:
    rig.set({"a": 1}, phone=PHONE, email="ann@example.com")
    rig.set({"a": 2}, phone="+13115550000", email="ann@example.com")
    (user,) = rig.sandbox.users()
    assert user["user"] == {"phone": "+13115550000", "email": "ann@example.com"}
    assert user["bridged"] == [{"phone": PHONE}]
    assert user["attributes"] == {"a": 2}


def test_users_are_json_lines_in_an_order_that_depends_on_the_state_alone(rig: Rig) -> None:
    phones = [f"+1311555{number:04d}" for number in (7, 3, 9, 1)]
    for phone in phones:
        rig.set({"b": 1, "a": 2}, phone=phone)
    lines = rig.control("GET", "users").text.splitlines()
    assert [json.loads(line)["user"]["phone"] for line in lines] == sorted(phones)
    assert lines[0] == '{"user": {"phone": "+13115550001"}, "attributes": {"a": 2, "b": 1}}'


@pytest.mark.parametrize(
    "query", ["", "phone=%2B13115552368&email=a%40example.com", "phone=+13115552368", "phone=&", "email=x", "id=7"]
)
def test_reading_takes_exactly_one_phone_or_email(rig: Rig, query: str) -> None:
    """In a query, a + that is not written %2B is a space."""
    response = rig.client.get(f"{rig.sandbox.url}/attributes/custom?{query}")
    assert response.status_code == 400


def test_a_user_who_is_not_known_has_no_attributes(rig: Rig) -> None:
    response = rig.read(email="nobody@example.com")
    assert (response.status_code, response.json()) == (200, [])


def test_reading_may_be_switched_off_as_it_is_for_most_accounts(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, reads=False))
    assert rig.read().status_code == 401
    assert rig.set({"a": 1}).status_code == 200


def test_an_attributes_name_may_stand_under_the_other_documented_key(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, read_key=Key.ATTRIBUTE))
    rig.set({"points": 1.50})
    assert rig.read().json() == [{"attribute": "points", "value": "1.5"}]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("named", "Attribute 'a': expected Number, got String"),
        ("echo", "Attribute 'a': expected Number, got String (value: \"secret\")"),
        ("vague", "Invalid parameter in request query or body"),
    ],
)
def test_a_refusal_says_as_much_as_the_errors_setting_asks(
    serve: Callable[[Settings], Rig], mode: str, expected: str
) -> None:
    rig = serve(replace(PLAIN, errors=Errors(mode)))
    rig.set({"a": 1})
    response = rig.set({"a": "secret"})
    assert response.json() == {"error": {"id": response.json()["error"]["id"], "message": expected}}
    assert response.headers["content-type"] == "application/json"


def test_a_refusal_may_have_no_body(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, errors=Errors.EMPTY))
    assert (rig.set({"a": None}).status_code, rig.set({"a": None}).content) == (400, b"")
