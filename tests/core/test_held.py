"""Whether what the read endpoint gives back is what was sent."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.attentive.request import body
from worker.core.held import gives_back, read_held, same_json
from worker.core.model import Scalar, User
from worker.sandbox.account import Account
from worker.sandbox.upsert import Identifier, read_upsert

NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.as_tuple().exponent) < 9_000),  # type: ignore[arg-type]  # finite, so it is a number
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001 - the bounds are without a zone, says Hypothesis
DATES = st.one_of(st.dates().map(date.isoformat), MOMENTS.map(datetime.isoformat))
PHONE = "+13115552368"


def returned(value: Scalar) -> object:
    """What the sandbox gives back for a value, sent as the worker sends it."""
    account = Account()
    account.apply(read_upsert(body(User(phone=PHONE), {"a": value})))
    return dict(account.read(Identifier("phone", "", PHONE)))["a"]


@given(st.one_of(NUMBERS, TEXTS, DATES, st.booleans()))
def test_whatever_is_sent_comes_back_equal(value: Scalar) -> None:
    assert gives_back(value, returned(value))


@given(NUMBERS, NUMBERS)
@example(2**53, 2**53 + 1)
@example(Decimal("0.1"), Decimal("0.1000000000000000055"))
def test_a_number_is_compared_by_its_value(one: Scalar, other: Scalar) -> None:
    equal = Decimal(str(one)) == Decimal(str(other))
    assert gives_back(one, returned(other)) is equal


@pytest.mark.parametrize("text", ["50.50", "+50.5", "5.05e1", "505E-1", "0050.5"])
def test_a_number_may_come_back_in_another_form(text: str) -> None:
    assert gives_back(50.5, text)
    assert gives_back(Decimal("50.50"), text)
    assert not gives_back(50, text)


@pytest.mark.parametrize("text", ["", "1_0", "\u0661", " 1", "1 ", "1e", ".1", "NaN", "Inf", "1e99999999999999999999"])
def test_what_is_no_number_equals_none(text: str) -> None:
    assert not gives_back(1, text)
    assert not gives_back(0.1, text)
    assert not gives_back(10, text)


@pytest.mark.parametrize(
    ("text", "equals_true", "equals_false"),
    [("true", True, False), ("TRUE", True, False), ("False", False, True), ("1", False, False), ("yes", False, False)],
)
def test_a_boolean_comes_back_in_any_case(text: str, equals_true: bool, equals_false: bool) -> None:  # noqa: FBT001 - the cases are booleans
    assert gives_back(True, text) is equals_true  # noqa: FBT003 - a value
    assert gives_back(False, text) is equals_false  # noqa: FBT003 - a value


@given(MOMENTS, ZONES)
def test_a_time_may_come_back_in_another_zone(moment: datetime, zone: timezone) -> None:
    assert gives_back(moment.isoformat(), moment.astimezone(zone).isoformat())
    assert gives_back(moment.isoformat(), moment.astimezone(UTC).isoformat().replace("+00:00", "Z"))
    assert not gives_back(moment.isoformat(), (moment + timedelta(microseconds=1)).isoformat())


@given(st.dates(date(1, 1, 2), date(9999, 12, 30)))
def test_a_date_may_come_back_as_its_midnight(day: date) -> None:
    for text in (f"{day}T00:00:00Z", f"{day} 00:00", f"{day}T00:00:00.000+00:00"):
        assert gives_back(day.isoformat(), text)
    assert not gives_back(day.isoformat(), (day + timedelta(days=1)).isoformat())


@pytest.mark.parametrize("text", ["2024-02-30", "20240131", "2024-W05-3", "2024-01-31T25:00", "2024-01-31T", "n/a"])
def test_a_text_that_is_no_date_must_be_the_same(text: str) -> None:
    assert gives_back(text, text)
    assert not gives_back(text, "2024-01-31")
    assert not gives_back("2024-01-31", text)


@given(TEXTS, TEXTS)
@example("02134", "2134")
@example("Gold", "gold")
@example("true", "TRUE")
@example("1.50", "1.5")
def test_any_other_text_must_be_the_same(one: str, other: str) -> None:
    assert gives_back(one, other) is (one == other)


def test_a_value_that_is_no_string_is_compared_as_json() -> None:
    assert gives_back(12.25, Decimal("12.25"))
    assert not gives_back("12.25", Decimal("12.25"))
    assert not gives_back(1, returned=True)
    assert not same_json(sent=True, held=1)
    assert not gives_back(None, "")


def test_the_name_stands_under_either_key() -> None:
    answer = '[{"name": "a", "value": "1"}, {"attribute": "b", "value": "2"}, {"name": "c", "value": null}]'
    assert read_held(answer) == {"a": "1", "b": "2"}
    assert read_held("[]") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "<html>",
        '["a"]',
        '[{"value": "1"}]',
        '[{"name": 1, "value": "1"}]',
        '[{"name": "a',
        "[" * 9999,
    ],
)
def test_what_is_no_list_of_attributes_is_no_answer(text: str) -> None:
    assert read_held(text) is None
