"""Each value of each type, alone and in a union with each other type: generated code sends it as step by step."""

from __future__ import annotations

import struct
from itertools import combinations
from typing import Any

import pytest

from tests.core.pairs import Rules, pair_of
from tests.core.test_sendable import RULES
from tests.support.avro import NOWHERE, fields, varint
from tests.support.marks import slow_after
from worker.core.events.mapping import Mapping
from worker.core.rules.policy import DEBEZIUM_UNAVAILABLE


def _text(text: str) -> bytes:
    return varint(len(text)) + text.encode()


NUMBERS = tuple(map(varint, (0, -(2**31), 2**31 - 1)))
LONGS = (*NUMBERS, varint(-(2**63)), varint(2**63 - 1))
TEXTS = tuple(map(_text, (DEBEZIUM_UNAVAILABLE, "canary-1", "+13115552368", "a@example.com", "gold", "")))
FLOATS = (float("nan"), float("inf"), -0.0, 1.5)
KINDS: dict[str, tuple[Any, tuple[bytes, ...]]] = {
    "null": ("null", (b"",)),
    "boolean": ("boolean", (b"\0", b"\1")),
    "int": ("int", NUMBERS),
    "long": ("long", LONGS),
    "float": ("float", tuple(struct.pack("<f", number) for number in FLOATS)),
    "double": ("double", tuple(struct.pack("<d", number) for number in FLOATS)),
    "string": ("string", TEXTS),
    "bytes": ("bytes", TEXTS),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", DEBEZIUM_UNAVAILABLE]}, (varint(0), varint(1))),
    "fixed": ({"type": "fixed", "name": "F", "size": len(DEBEZIUM_UNAVAILABLE)}, (DEBEZIUM_UNAVAILABLE.encode(),)),
    "decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 400, "scale": 2},
        tuple(varint(size) + b"\x7f" * size for size in (0, 1, 64, 65)),
    ),
    "uuid": ({"type": "string", "logicalType": "uuid"}, TEXTS),
    "date": ({"type": "int", "logicalType": "date"}, NUMBERS),
    "instant": ({"type": "long", "logicalType": "timestamp-micros"}, LONGS),
    "array": ({"type": "array", "items": "int"}, (varint(0), varint(1) + varint(7) + varint(0))),
    "map": ({"type": "map", "values": "int"}, (varint(0),)),
}
UNIONS = [(kind,) for kind in KINDS] + list(combinations(KINDS, 2))
PATHS = ("ab", "*", "all", "*,all")


def _again(schema: Any) -> Any:  # noqa: ANN401 - an Avro schema
    """The schema where it is used for the second time."""
    return schema.get("name", schema) if isinstance(schema, dict) else schema


@pytest.mark.parametrize("rules", slow_after(1, RULES.values()), ids=RULES)
def test_each_value_is_sent_as_step_by_step_whatever_else_its_union_may_hold(rules: Rules) -> None:
    sent = 0
    for kinds in UNIONS:
        types = [KINDS[kind][0] for kind in kinds]
        one, again = (types, [*map(_again, types)]) if len(types) > 1 else (types[0], _again(types[0]))
        schema = fields(("id", "string"), ("ab", one), ("all", {"type": "map", "values": again}))
        for path in PATHS:
            pair = pair_of(schema, Mapping(**{**NOWHERE, "client_user_id": "id", "attributes": path}), rules)
            if pair is None:  # two of one type; or neither a map nor a scalar
                continue
            for branch, kind in enumerate(kinds):
                for value in KINDS[kind][1]:
                    item = (varint(branch) if len(kinds) > 1 else b"") + value
                    sent += pair.agrees(_text("u") + item + varint(1) + _text("fk") + item + varint(0))
    assert sent > len(UNIONS)
