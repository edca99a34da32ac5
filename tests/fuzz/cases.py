"""The cases to fuzz: schemas of every shape that Avro has, each with a mapping that fits it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.avro import fields
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.registry.bundled import bundled

_DEBEZIUM = json.loads((Path(__file__).parents[2] / "examples/debezium-postgres/value.avsc").read_text())
_FLAT = Mapping(
    phone="", email="", client_user_id="id", custom_identifiers="", attributes="*", occurred_at="at", event_id="id"
)
_LOGICAL: tuple[tuple[str, str | dict[str, object], str], ...] = (
    ("day", "int", "date"),
    ("clock_ms", "int", "time-millis"),
    ("clock_us", "long", "time-micros"),
    ("at", "long", "timestamp-millis"),
    ("at_us", "long", "timestamp-micros"),
    ("at_ns", "long", "timestamp-nanos"),
    ("local_ms", "long", "local-timestamp-millis"),
    ("local_us", "long", "local-timestamp-micros"),
    ("local_ns", "long", "local-timestamp-nanos"),
    ("price", "bytes", "decimal"),
    ("uuid", "string", "uuid"),
)


def _logical() -> dict[str, Any]:
    plain = [(name, {"type": base, "logicalType": logical, "scale": 2}) for name, base, logical in _LOGICAL]
    fixed = {"type": "fixed", "name": "Sixteen", "size": 16, "logicalType": "uuid"}
    small = {"type": "fixed", "name": "Five", "size": 5, "logicalType": "decimal", "precision": 9, "scale": 3}
    return fields(("id", "string"), ("token", fixed), ("cost", small), *plain)


_KIND = {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}
_INNER = fields(("kind", _KIND), ("code", {"type": "fixed", "name": "Code", "size": 3}), name="Inner")
_UNIONS = fields(
    ("id", ["null", "string", "long"]),
    ("one", ["null", _INNER, {"type": "map", "values": ["null", "Inner", "string"]}]),
    ("many", {"type": "array", "items": ["null", "double", {"type": "array", "items": ["null", "Kind"]}]}),
    ("flag", "boolean"),
    ("ratio", "float"),
    ("blob", "bytes"),
    ("count", "int"),
    ("wide", ["null", *(fields((f"f{number}", "int"), name=f"Branch{number}") for number in range(70))]),
)
_TREE = fields(
    ("id", "string"),
    ("left", ["null", "Row"]),
    ("others", {"type": "array", "items": "Row"}),
    ("named", {"type": "map", "values": "Row"}),
)
_EMPTIES = fields(
    ("id", "string"),
    ("nothing", "null"),
    ("nulls", {"type": "array", "items": "null"}),
    ("records", {"type": "array", "items": fields(("n", "null"), ("m", "null"), name="Empty")}),
    ("fixed", {"type": "array", "items": {"type": "fixed", "name": "Zero", "size": 0}}),
    ("nested", {"type": "array", "items": {"type": "array", "items": "Empty"}}),
)
_MAPS = fields(
    ("id", "string"), ("maps", {"type": "map", "values": {"type": "map", "values": {"type": "map", "values": "int"}}})
)
_DATE_AS_LONG = frozenset({(10, 4)})


@dataclass(frozen=True)
class Case:
    """One schema under test.

    Attributes:
        schema: The writer schema, as a producer registers it.
        mapping: The decoder's mapping.
        reader_schema: The decoder's reader schema, or None.
        alike: Pairs of bytes (read, written back) that may differ: without logical types, two branches of a union are
            the same type, and either index may be written.
        spare_bytes: Memory that decoding may take beyond a multiple of the record's size; for items of zero bytes.
    """

    schema: dict[str, Any]
    mapping: Mapping = field(default_factory=lambda: _FLAT)
    reader_schema: dict[str, Any] | None = None
    alike: frozenset[tuple[int, int]] = frozenset()
    spare_bytes: int = 0

    def decoder(self) -> Decoder:
        """A decoder for bare Avro of this schema."""
        return Decoder(self.mapping, writer_schema=self.schema, reader_schema=self.reader_schema)

    def reader(self) -> tuple[AvroType, Reader]:
        """A reader of the schema without its logical types, so that a value it reads can be written back."""
        avro = AvroType(_plain(self.schema))
        return avro, Reader(avro)


CASES: dict[str, Case] = {
    "default": Case(bundled("profile_changed"), Mapping(), alike=_DATE_AS_LONG),
    "debezium": Case(
        _DEBEZIUM,
        Mapping(
            client_user_id="after.id|before.id", email="after.email", phone="after.phone", custom_identifiers="",
            attributes="after.*", occurred_at="ts_ms", event_id="", ignore_when_null="after",
        ),
    ),
    "logical": Case(_logical()),
    "unions": Case(_UNIONS, Mapping(client_user_id="id", custom_identifiers="one", attributes="*")),
    "tree": Case(_TREE),
    "empties": Case(_EMPTIES, spare_bytes=80 * 2**20),
    "maps": Case(_MAPS, Mapping(client_user_id="id", custom_identifiers="", attributes="maps")),
    "letter": Case(bundled("dead_letter"), Mapping(attributes="*", client_user_id="id"), alike=_DATE_AS_LONG),
    "resolved": Case(
        _UNIONS,
        Mapping(client_user_id="id", attributes="*"),
        fields(("id", ["null", "string", "long"]), ("count", "double"), ("added", "string"), added={"default": "x"}),
    ),
}  # fmt: skip


@cache
def prepared(name: str) -> tuple[Case, Decoder, AvroType, Reader]:
    """A case with its decoder, type and reader, compiled once."""
    case = CASES[name]
    return (case, case.decoder(), *case.reader())


def _plain(schema: Any) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, dict):
        # An empty name of Connect's says nothing, and hides the record's own.
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"} | {"connect.name": ""}
    return schema
