from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.attentive import request
from worker.attentive.transport import endpoint
from worker.core.model import Scalar, User

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=9)
    | TEXT
)
USER = User(phone="+15550001111")


def properties(content: bytes, **hooks: Any) -> dict[str, object]:  # noqa: ANN401 - json.loads's own
    document: dict[str, dict[str, object]] = json.loads(content, **hooks)
    return document["properties"]


@given(st.dictionaries(TEXT, SCALARS, max_size=5))
def test_every_value_arrives_as_it_was(attributes: dict[str, Scalar]) -> None:
    content = request.body(USER, attributes)
    as_decimal = properties(content, parse_float=Decimal, parse_int=Decimal)
    assert list(as_decimal) == list(attributes)
    for name, value in attributes.items():
        if isinstance(value, float):
            assert properties(content)[name] == value
        else:
            assert as_decimal[name] == value
            assert isinstance(as_decimal[name], bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("0.1000000000000000055"), "0.1000000000000000055"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+5"), "100000"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("-0"), "-0"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (2**63, "9223372036854775808"),
        (10**5000, "1" + "0" * 5000),
        (True, "true"),
        (None, "null"),
        ("Zoë\n", '"Zoë\\n"'),
    ],
    ids=lambda value: str(value)[:25] if not isinstance(value, int) else "int",
)
def test_exact_writing(value: Scalar, written: str) -> None:
    assert (
        request.body(USER, {"a": value})
        == f'{{"properties":{{"a":{written}}},"user":{{"phone":"+15550001111"}}}}'.encode()
    )


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("4711E+1000000000")],
    ids=str,
)
def test_what_is_not_a_json_number_raises_and_names_the_attribute_alone(value: Scalar) -> None:
    with pytest.raises(ValueError, match="attribute 'score'") as caught:
        request.body(USER, {"score": value})
    assert "4711" not in str(caught.value)


def test_lone_surrogate_raises_without_the_text_around_it() -> None:
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        request.body(USER, {"name": "secret\ud800"})
    assert caught.value.__context__ is None  # a UnicodeEncodeError would hold the whole body
    assert "secret" not in str(caught.value)


def test_every_identifier_has_its_place() -> None:
    user = User(phone="+15550001111", email="zoë@example.com", client_user_id="c1", custom=(("loyalty", "9"),))
    assert json.loads(request.body(user, {}))["user"] == {
        "phone": "+15550001111",
        "email": "zoë@example.com",
        "externalIdentifiers": {"clientUserId": "c1", "customIdentifiers": [{"name": "loyalty", "value": "9"}]},
    }
    assert json.loads(request.body(User(client_user_id="c1"), {}))["user"] == {
        "externalIdentifiers": {"clientUserId": "c1"}
    }


def test_no_identifier_raises() -> None:
    with pytest.raises(ValueError, match="identifier"):
        request.body(User(), {"a": 1})


@pytest.mark.parametrize("base", ["https://api.example.com/v1", "https://api.example.com/v1/"])
def test_endpoint_joins_with_and_without_a_slash(base: str) -> None:
    assert str(endpoint(base, request.ATTRIBUTES_PATH)) == "https://api.example.com/v1/attributes/custom"


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.example.com/v1",
        "ftp://secret.example.com",
        "https://",
        "https://u:secret@example.com/v1",
        "https://example.com/v1?key=secret",
        "https://example.com/#secret",
        "https://example.com:secret/",
        "https://\x00secret/",
    ],
)
def test_base_url_that_is_none_raises_without_repeating_it(base: str) -> None:
    with pytest.raises(ValueError, match="the base URL must") as caught:
        endpoint(base, request.ATTRIBUTES_PATH)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
