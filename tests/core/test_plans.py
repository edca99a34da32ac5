"""How many schemas a decoder keeps ready."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.support.allocations import traced
from tests.support.avro import fields, framed, record, varint
from worker.core.events.decode import Decoder, SchemaMissing, Undecodable
from worker.core.events.mapping import Mapping
from worker.core.events.plans import PARTS_MAX
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

MAPPING = Mapping("", "", "id", "", attributes="*", occurred_at="", event_id="", exclude=("x*",))
WIDE = fields(("id", "string"), *((f"f{number}", ["null", "string"]) for number in range(100)))
WIDE_PARTS = 1 + 101 + 200
KINDS = fields(
    ("id", "string"), ("kind", {"type": "enum", "name": "K", "symbols": [f"S{number}" for number in range(300)]})
)
"""As many parts as `WIDE`, quickly compiled."""
KEPT = PARTS_MAX // (1 + 2 + 300)
DATA = varint(1) + b"u" + varint(0)


def is_known(decoder: Decoder, schema_id: int) -> bool:
    try:
        return decoder.decode(record(framed(schema_id, DATA))) is not None
    except SchemaMissing:
        return False


@pytest.mark.parametrize("preflight", [None, Preflight(IdentityRules(), AttributeRules())], ids=["events", "sent"])
def test_as_many_schemas_as_fit_take_30_mib(preflight: Preflight | None) -> None:
    plans = 5
    decoder = Decoder(MAPPING)
    if preflight is not None:
        decoder.go_on_to(preflight)

    def compile_plan(schema_id: int) -> None:
        decoder.add(schema_id, WIDE)
        with suppress(Undecodable):
            decoder.decode_on(record(framed(schema_id, b"")))

    compile_plan(0)
    with traced() as allocated:
        for schema_id in range(1, plans + 1):
            compile_plan(schema_id)
        held = allocated()
    assert held / (plans * WIDE_PARTS) * PARTS_MAX < 32 * 2**20


def test_the_least_recently_used_schema_is_forgotten_first_and_may_come_back() -> None:
    decoder = Decoder(MAPPING)
    for schema_id in range(KEPT):
        decoder.add(schema_id, KINDS)
    assert all(is_known(decoder, schema_id) for schema_id in range(KEPT))
    assert is_known(decoder, 0)
    decoder.add(KEPT, KINDS)
    assert [is_known(decoder, schema_id) for schema_id in (KEPT, 0, 1, 2)] == [True, True, False, True]
    decoder.add(1, KINDS)
    assert is_known(decoder, 1)


def test_a_schema_that_is_added_again_takes_its_own_place() -> None:
    decoder = Decoder(MAPPING)
    for _ in range(3 * KEPT):
        decoder.add(1, KINDS)
    decoder.add(2, KINDS)
    assert is_known(decoder, 1)


def test_one_schema_larger_than_the_bound_is_kept() -> None:
    huge = fields(
        ("id", "string"), ("kind", {"type": "enum", "name": "K", "symbols": [f"S{n}" for n in range(70_000)]})
    )
    decoder = Decoder(MAPPING)
    decoder.add(1, KINDS)
    decoder.add(2, huge)
    assert decoder.decode(record(framed(2, varint(1) + b"u" + varint(69_999)))) is not None
    assert not is_known(decoder, 1)


def test_very_long_names_are_not_remembered() -> None:
    """A record may hold a name of 300 kB, and a cache of 4,096 of them would hold more than a gigabyte."""
    schema = fields(("id", "string"), ("all", {"type": "map", "values": "int"}))
    decoder = Decoder(
        Mapping("", "", "id", "", attributes="all", occurred_at="", event_id="", exclude=("x*",)), writer_schema=schema
    )
    with traced() as allocated:
        for number in range(100):
            name = f"{number:0100000}".encode()
            value = varint(1) + b"u" + varint(1) + varint(len(name)) + name + varint(1) + varint(0)
            event = decoder.decode(record(value))
            assert event is not None
            assert len(event.attributes) == 1
        assert allocated() < 2**20
