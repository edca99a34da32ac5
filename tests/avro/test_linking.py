"""How types are found by their names, also in other texts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.avro import fields, framed, record, varint
from worker.core.avro.linking import InvalidSchema, linked
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping

FLAT = Mapping(phone="", email="", client_user_id="id", custom_identifiers="", attributes="*", occurred_at="")
X: dict[str, Any] = {"type": "enum", "name": "X", "symbols": ["A", "B"]}
LONG: dict[str, Any] = {"type": "enum", "name": "X", "symbols": ["P", "Q", "R", "S"]}
USER = fields(("name", "string"), name="n.User")
WRAP = fields(("user", USER), name="n.Wrap")


def attributes(schema: object, data: bytes, *, reader_schema: object | None = None) -> dict[str, object]:
    decoder = Decoder(FLAT, reader_schema=reader_schema)
    decoder.add(7, schema)
    event = decoder.decode(record(framed(7, varint(2) + b"u1" + data)))
    assert event is not None
    return dict(event.attributes)


def row(*declared: tuple[str, Any], name: str = "Row") -> dict[str, Any]:
    return fields(("id", "string"), *declared, name=name)


@pytest.mark.parametrize(
    ("schema", "symbols"),
    [
        (row(("a", X | {"name": "n.X"}), ("b", ["null", {"name": "X", "type": "n.X"}])), "AB"),
        (row(("a", X | {"name": "n.X"}), ("b", ["null", {"type": {"type": "n.X"}}])), "AB"),
        (row(("a", X), ("b", ["null", "X"])), "AB"),
        (row(("a", X | {"namespace": ""}), ("b", ["null", "X"]), name="n.Row"), "AB"),
        (row(("a", X | {"namespace": None}), ("b", ["null", "X"]), name="n.Row"), "AB"),
        (row(("a", X | {"namespace": 7}), ("b", ["null", "n.X"]), name="n.Row"), "AB"),
        (row(("a", X), ("b", ["null", X | {"doc": "again", "aliases": ["Y"]}])), "AB"),
        (row(("a", "X"), ("b", ["null", X])), "AB"),
        (row(("a", "X"), ("b", ["null", X | {"namespace": ""}]), name="n.Row"), "AB"),
        (row(("a", X | {"symbols": ["Größe", "A-B"]}), ("b", ["null", "X"])), ["Größe", "A-B"]),
    ],
)
def test_a_type_is_used_by_its_name_wherever_and_however_it_is_defined(schema: object, symbols: str) -> None:
    found = attributes(schema, varint(0) + varint(1) + varint(1))
    assert found == {"a": symbols[0], "b": symbols[1]}
    assert attributes(schema, varint(0) + varint(0), reader_schema=schema) == {"a": symbols[0], "b": None}


def test_a_name_without_a_namespace_is_one_of_the_namespace_around_it_if_that_is_known() -> None:
    """By the types that stand before it, as Java finds them; those behind it count if there are none."""
    other, own = X | {"namespace": ""}, LONG | {"namespace": "n"}
    assert attributes(row(("a", other), ("b", own), ("c", "X"), name="n.Row"), bytes([0, 6, 6]))["c"] == "S"
    assert attributes(row(("a", other), ("c", "X"), ("b", own), name="n.Row"), bytes([0, 2, 6]))["c"] == "B"
    assert attributes(row(("c", "X"), ("a", other), ("b", own), name="n.Row"), bytes([6, 0, 6]))["c"] == "S"


@pytest.mark.parametrize(
    ("root", "references"),
    [
        (row(("user", "n.User"), ("wrap", "n.Wrap")), [WRAP]),
        (row(("user", "n.User"), ("wrap", "n.Wrap")), [USER, fields(("user", "User"), name="n.Wrap")]),
        (row(("user", "n.User"), ("wrap", "n.Wrap")), ["string", ["null", WRAP]]),
        (row(("user", USER), ("wrap", "n.Wrap")), [WRAP]),
        (row(("user", "User"), ("wrap", "Wrap"), name="n.Row"), [WRAP]),
        (
            row(("user", "User"), ("wrap", "Wrap"), name="n.Row"),
            [fields(("user", USER | {"name": "User"}), name="Wrap")],
        ),
        ({"type": "n.Row"}, [WRAP, row(("user", "n.User"), ("wrap", "Wrap"), name="n.Row")]),
        (["null", "n.Row"], [WRAP, row(("user", "n.User"), ("wrap", "Wrap"), name="n.Row")]),
    ],
)
def test_types_of_other_texts_are_put_in(root: object, references: list[object]) -> None:
    schema = linked(root, references)
    assert linked(schema) == schema
    decoder = Decoder(Mapping("", "", "id", "", attributes="user.name, inner=wrap.user.name", occurred_at=""))
    decoder.add(7, schema)
    branch = varint(1) if isinstance(root, list) else b""
    event = decoder.decode(record(framed(7, branch + varint(2) + b"u1" + varint(1) + b"a" + varint(1) + b"b")))
    assert event is not None
    assert event.attributes == {"name": "a", "inner": "b"}


@pytest.mark.parametrize(
    ("root", "references", "why"),
    [
        (row(("a", "n.User")), [], "there is no type n.User"),
        (row(("a", "User"), name="n.Row"), [fields(("a", "int"), name="m.User")], "there is no type n.User"),
        (row(("a", "x" * 900)), [], "there is no type x"),
        (row(("a", X), ("b", X | {"symbols": ["B", "A"]})), [], "X is defined twice, in different ways"),
        (row(("a", USER), ("b", "n.Wrap")), [fields(("u", USER | {"fields": []}), name="n.Wrap")], "n.User is defined"),
        (row(("a", ["null", ["int"]])), [], "a union directly in a union"),
        (row(("a", [{"type": ["int"]}])), [], "a union directly in a union"),
    ],
)
def test_what_cannot_be_put_together_is_told(root: object, references: list[object], why: str) -> None:
    with pytest.raises(InvalidSchema, match=f"^not a valid Avro schema: {why}") as caught:
        linked(root, references)
    assert len(str(caught.value)) < 200


def test_a_type_that_no_text_uses_need_not_be_right() -> None:
    assert linked(row(("a", "int")), [fields(("b", "n.Nothing"), name="Unused")]) == row(("a", "int"), name=".Row")


def test_chains_of_types_have_a_bound() -> None:
    chain = [fields(("next", f"R{number + 1}"), name=f"R{number}") for number in range(200)]
    with pytest.raises(InvalidSchema, match="more than 100 levels deep"):
        linked("R0", [*chain, fields(name="R200")])
