"""The sandbox's account, against a model that is too simple to be wrong."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox.account import Account, Kind, fits, json_of, kind_of, text_of
from worker.sandbox.upsert import Identifier, Number, RefusedError, Upsert, Value, read_upsert

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)).map(json.dumps)
DATES = st.one_of(st.dates(), st.datetimes()).map(lambda moment: moment.isoformat())
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    NUMBERS.map(Number),
    NUMBERS,
    st.sampled_from(["true", "FALSE", "True", "", "yes", "1986-13-45", "24 years", "1_000", "٣", " 1"]),
    DATES,
    st.text(max_size=8),
)
USERS = st.lists(
    st.sampled_from(
        [
            Identifier("phone", "", "+13115552368"),
            Identifier("phone", "", "+13115550000"),
            Identifier("email", "", "ann@example.com"),
            Identifier("email", "", "ann@EXAMPLE.com"),
            Identifier("clientUserId", "", "7"),
            Identifier("custom", "crm", "7"),
            Identifier("custom", "loyalty", "7"),
        ]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)
UPSERTS = st.builds(
    Upsert, USERS.map(tuple), st.dictionaries(st.sampled_from(["a", "b", "c", "size"]), VALUES, max_size=3)
)
SIZES = {"size": ("S", "L", "1", "true")}


@given(VALUES)
def test_a_value_fits_its_own_type_and_a_text_also_fits_string(value: Value) -> None:
    possible = {kind for kind in Kind if fits(value, kind)}
    assert possible == {kind_of(value)} | ({Kind.STRING} if isinstance(value, str) else set())


@given(NUMBERS, DATES)
def test_a_text_that_reads_as_a_number_or_a_date_is_one(number: str, date: str) -> None:
    assert kind_of(number) is kind_of(Number(number)) is Kind.NUMBER
    assert kind_of(date) is Kind.DATE


class Model:
    """Keeps every accepted call, and works the state out from all of them each time."""

    def __init__(self) -> None:
        self.accepted: list[Upsert] = []

    def accepts(self, properties: Mapping[str, Value]) -> bool:
        return all(self._accepts(name, value) for name, value in properties.items())

    def _accepts(self, name: str, value: Value) -> bool:
        if name in SIZES:
            return text_of(value) in SIZES[name]
        seen = [upsert.properties[name] for upsert in self.accepted if name in upsert.properties]
        return not seen or fits(value, kind_of(seen[0]))

    def groups(self) -> list[set[Identifier]]:
        """The identifiers of each user: those that calls have linked, directly or by others."""
        groups: list[set[Identifier]] = []
        for upsert in self.accepted:
            keys = {identifier.key for identifier in upsert.identifiers}
            linked = [group for group in groups if group & keys]
            groups = [group for group in groups if not group & keys] + [keys.union(*linked)]
        return groups

    def attributes(self, group: set[Identifier]) -> dict[str, str]:
        attributes: dict[str, str] = {}
        for upsert in self.accepted:
            if any(identifier.key in group for identifier in upsert.identifiers):
                attributes |= {name: text_of(value) for name, value in upsert.properties.items()}
        return attributes


@given(st.lists(UPSERTS, max_size=12))
def test_the_account_equals_the_model_and_a_refused_call_changes_nothing(upserts: list[Upsert]) -> None:
    account, model = Account(SIZES), Model()
    for upsert in upserts:
        accepted = model.accepts(upsert.properties)
        before = account.lines()
        if accepted:
            account.apply(upsert)
            model.accepted.append(upsert)
            continue
        with pytest.raises(RefusedError) as refused:
            account.apply(upsert)
        assert refused.value.attribute in upsert.properties
        assert account.lines() == before
    groups = model.groups()
    assert account.user_count == len(groups) == len(account.lines())
    for group in groups:
        for identifier in group:
            assert dict(account.read(identifier)) == model.attributes(group)


def has_no_number(value: object) -> bool:
    """Whether NaN or an infinity is anywhere in it."""
    if isinstance(value, list):
        return any(has_no_number(each) for each in value)
    return isinstance(value, float) and not math.isfinite(value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_only_scalars_are_accepted_and_a_refusal_names_the_attribute(value: object) -> None:
    body = json.dumps({"user": {"email": "ann@example.com"}, "properties": {"fine": 1, "name": value}}).encode()
    if has_no_number(value):
        with pytest.raises(RefusedError, match="not JSON"):
            read_upsert(body)
    elif value is None or isinstance(value, list):
        with pytest.raises(RefusedError) as refused:
            read_upsert(body)
        assert refused.value.attribute == "name"
    else:
        assert json_of(read_upsert(body).properties["name"]) == json.dumps(value)


@given(st.binary(max_size=40))
def test_any_body_is_accepted_or_refused_without_another_error(body: bytes) -> None:
    with contextlib.suppress(RefusedError):
        read_upsert(body)


@given(st.text(min_size=1, max_size=20), VALUES)
def test_a_value_is_printed_as_the_json_that_was_sent(name: str, value: Value) -> None:
    sent = value.text if isinstance(value, Number) else json.dumps(value)
    body = f'{{"user": {{"email": "ann@example.com"}}, "properties": {{{json.dumps(name)}: {sent}}}}}'
    account = Account()
    account.apply(read_upsert(body.encode()))
    (line,) = account.lines()
    assert line.endswith(f'"attributes": {{{json.dumps(name)}: {sent}}}}}')
