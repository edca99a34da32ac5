"""The generated code itself: what is in it, when there is none, and how long it is kept."""

from __future__ import annotations

import ast
import gc
import os
import random
import secrets
import traceback
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.core.pairs import LeftError, Pair
from tests.fuzz.mutate import valid
from tests.support.avro import NOWHERE, fields, varint
from worker.core.events.mapping import Mapping
from worker.core.events.spots import NotCovered
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.registry.bundled import bundled

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
TEXT = ["null", "string"]
OTHER = fields(("id", "string"), name="Other")


def test_the_example_in_the_design_is_what_is_generated() -> None:
    design = (Path(__file__).parents[2] / "DESIGN.md").read_text(encoding="utf-8")
    shown = design.partition("```python\n")[2].partition("```")[0]
    schema = fields(("id", "string"), ("tier", TEXT))
    source = Pair(schema, Mapping(**{**NOWHERE, "attributes": "*", "client_user_id": "id"})).source
    assert ast.dump(ast.parse(shown)) == ast.dump(ast.parse(source))


HOSTILE = (
    "a'b", 'a"b', "a\nb", "a\\", "#", "'''", '"""', "__import__('os').abort()", "{v1}", "d\ud800", "\u2028", "\0",
    "\\N{DIGIT ONE}", "');raise Odd#", "%s", "v1",
)  # fmt: skip


def with_names(names: tuple[str, ...]) -> Pair:
    kind = {"type": "enum", "name": names[0], "symbols": ["A", "B"]}
    schema = fields(
        *((name, TEXT) for name in names),
        ("inner", ["null", fields(*((name, "string") for name in names), name=names[1])]),
        ("kind", kind),
        name=names[2],
    )
    mapping = Mapping(
        **{**NOWHERE, "attributes": f"*,{names[0]}=kind", "custom_identifiers": f"{names[1]}=kind"},
        rename={names[3]: names[4]}, prefix=names[5], flatten=names[6], ignore_when=(f"kind={names[7]}",),
        exclude=(names[8],),
    )  # fmt: skip
    return Pair(schema, mapping)


def test_names_of_a_schema_or_a_mapping_are_data_and_never_code() -> None:
    pair, plain = with_names(HOSTILE), with_names(tuple(f"n{number:02}" for number in range(len(HOSTILE))))
    rng = random.Random(SEED)
    for _ in range(40):
        assert pair.agrees(b"".join(valid(pair.avro, rng))), f"FUZZ_SEED={SEED}"
    assert pair.source.isascii()
    assert without_texts(pair.source) == without_texts(plain.source)


OWN_NAMES = (
    *HOSTILE[:9],
    *HOSTILE[10:],
    "user",
    "values",
    "item",
    "data",
    "passed_over",
    "unknown",
    "class",
    "\ufb01",
    "{0}",
)
"""Also of variables in the code. None is a name that is refused for what it is: that would change the code."""


def with_names_and_rules(names: tuple[str, ...], attributes: str) -> Pair:
    types = (TEXT, ["null", "string", "long"], "boolean", ["null", "double"])
    schema = fields(
        *((name, types[number % len(types)]) for number, name in enumerate(names)),
        ("inner", ["null", fields(*((name, TEXT) for name in names[:4]), name=names[0])]),
        ("kind", {"type": "enum", "name": names[1], "symbols": list(names[:3])}),
        ("all", {"type": "map", "values": ["string", "double"]}),
        name=names[2],
    )
    mapping = Mapping(
        **{**NOWHERE, "attributes": attributes, "custom_identifiers": f"{names[3]}=kind,{names[4]}=kind"},
        rename={names[3]: names[4] + " "}, flatten=names[5], ignore_when=(f"kind={names[6]}",), exclude=(names[7],),
    )  # fmt: skip
    unknown = (names[0], names[8])
    return Pair(schema, mapping, rules=(IdentityRules(), AttributeRules(deny=(), unknown_values=unknown)))


@pytest.mark.parametrize("attributes", ["*", "*,all", "all"])
def test_names_are_data_also_where_code_goes_on_to_preflight(attributes: str) -> None:
    plain = with_names_and_rules(tuple(f"n{number:02}" for number in range(len(OWN_NAMES))), attributes)
    pair = with_names_and_rules(OWN_NAMES, attributes)
    rng, sent = random.Random(SEED), 0
    for _ in range(80):
        sent += pair.agrees(b"".join(valid(pair.avro, rng)))
    assert sent, f"FUZZ_SEED={SEED}"
    assert pair.source.isascii()
    assert without_texts(pair.source) == without_texts(plain.source)


def without_texts(source: str) -> str:
    """What the source does, whatever its texts are."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in {"@", "+"}:
            node.value = "a text"
    return ast.dump(tree)


def test_a_traceback_shows_the_line_of_generated_code() -> None:
    plan = Pair(fields(("id", "string")), Mapping(**{**NOWHERE, "attributes": "*"})).plan
    with pytest.raises(LeftError) as caught:
        plan(b"", 0, None, 0)
    frame = traceback.extract_tb(caught.value.__traceback__)[1]
    assert frame.filename.startswith("schema 7, generated ")
    assert frame.line == "return closures(data, start, key, key_start)"


def test_a_forgotten_plan_is_freed_at_once() -> None:
    """The worker looks for garbage seldom."""
    gc.collect()
    gc.disable()
    try:
        pair = Pair(bundled("profile_changed"), Mapping())
        held = [weakref.ref(each) for each in (pair.avro, pair.plan)]
        del pair
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("schema", "settings"),
    [
        (fields(("id", "string"), ("next", ["null", "Row"])), {"attributes": "*"}),
        ([OTHER, fields(("id", "string"))], {"attributes": "*"}),
        (fields(("x", OTHER)), {"attributes": "x.*", "client_user_id": "x"}),
        (fields(("x", ["null", "string", OTHER])), {"attributes": "x.*"}),
        (fields(*((f"f{number}", "int") for number in range(1_800))), {"attributes": "*"}),
        (fields(("x", "bytes")), {"attributes": "y"}),
    ],
    ids=["recursive", "several types", "whole and by fields", "a record or a text", "very large", "refused"],
)
def test_some_schemas_are_left_to_closures(schema: object, settings: dict[str, str]) -> None:
    with pytest.raises(NotCovered):
        Pair(schema, Mapping(**{**NOWHERE, **settings}))


def test_types_that_hold_each_other_twice_do_not_become_endless_code() -> None:
    schema: Any = fields(("x", TEXT), name="Layer0")
    for layer in range(1, 14):
        schema = fields(("one", ["null", schema]), ("two", f"Layer{layer - 1}"), name=f"Layer{layer}")
    pair = Pair(fields(("id", "string"), ("all", schema)), Mapping(**{**NOWHERE, "attributes": "id"}))
    assert pair.source.count("\n") < 6_000
    assert pair.agrees(varint(1) + b"x" + varint(0) * 14)


def test_what_is_nested_deep_is_read_by_closures_within_generated_code() -> None:
    kind: Any = "int"
    for _ in range(40):
        kind = {"type": "array", "items": kind}
    pair = Pair(fields(("x", kind), ("y", "int")), Mapping(**{**NOWHERE, "attributes": "y"}))
    assert pair.agrees(varint(1) * 40 + varint(7) + varint(0) * 40 + varint(5))
