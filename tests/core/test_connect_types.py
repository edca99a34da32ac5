"""The time types of Debezium and Kafka Connect, which are plain numbers with a name beside them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.core.test_preflight import sent
from tests.support.avro import fields, record, varint
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping

DEBEZIUM, CONNECT = "io.debezium.time.", "org.apache.kafka.connect.data."
SECOND = 1_700_000_000
MORNING = 9 * 3600 + 5 * 60


def named(base: str, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - properties of a schema
    return {"type": base, "connect.version": 1, "connect.name": name, **more}


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        (named("int", DEBEZIUM + "Date"), 19_723, "2024-01-01"),
        (named("int", DEBEZIUM + "Date"), -1, "1969-12-31"),
        (named("int", DEBEZIUM + "Time"), MORNING * 1_000, "09:05:00"),
        (named("long", DEBEZIUM + "MicroTime"), MORNING * 1_000_000 + 500, "09:05:00.0005"),
        (named("long", DEBEZIUM + "NanoTime"), MORNING * 1_000_000_000 + 7, "09:05:00.000000007"),
        (named("long", DEBEZIUM + "NanoTime"), MORNING * 1_000_000_000, "09:05:00"),
        (named("long", DEBEZIUM + "Timestamp"), SECOND * 1_000, "2023-11-14T22:13:20Z"),
        (named("long", DEBEZIUM + "MicroTimestamp"), SECOND * 1_000_000 + 1, "2023-11-14T22:13:20.000001Z"),
        (named("long", DEBEZIUM + "NanoTimestamp"), SECOND * 1_000_000_000 + 1, "2023-11-14T22:13:20.000000001Z"),
        (named("int", CONNECT + "Date", logicalType="date"), 19_723, "2024-01-01"),
        (named("int", CONNECT + "Date"), 19_723, "2024-01-01"),
        (named("int", CONNECT + "Time"), MORNING * 1_000, "09:05:00"),
        (named("long", CONNECT + "Timestamp"), SECOND * 1_000, "2023-11-14T22:13:20Z"),
        (named("int", CONNECT + "Date", logicalType="no such type"), 19_723, "2024-01-01"),
        # What is no time stays a number.
        (named("int", DEBEZIUM + "Year"), 2024, 2024),
        (named("long", DEBEZIUM + "MicroDuration"), 7, 7),
        (named("long", DEBEZIUM + "Date"), 19_723, 19_723),
        (named("int", "io.debezium.time.date"), 19_723, 19_723),
        ({"type": "int", "connect.name": ["odd"], "connect.parameters": 7}, 19_723, 19_723),
    ],
)
def test_a_named_number_is_sent_as_the_time_it_is(kind: dict[str, Any], number: int, expected: object) -> None:
    assert dict(sent(kind, varint(number)).accepted) == {"value": expected}


def test_a_number_that_is_no_time_is_refused_alone() -> None:
    found = sent(named("long", DEBEZIUM + "NanoTime"), varint(-1))
    assert [refusal.reason for refusal in found.refusals] == ["unsupported_value"]


@pytest.mark.parametrize(
    "more",
    [
        {"connect.parameters": {"scale": "2", "connect.decimal.precision": "10"}},
        {"connect.parameters": {"scale": "2"}, "scale": 2, "precision": 64, "logicalType": "decimal"},
        # Oracle's NUMBER(1, 2), which Avro calls invalid.
        {"connect.parameters": {"scale": "2"}, "scale": 2, "precision": 1, "logicalType": "decimal"},
    ],
)
def test_connects_decimal_has_its_scale_in_its_parameters(more: dict[str, Any]) -> None:
    found = sent(named("bytes", CONNECT + "Decimal", **more), varint(2) + b"\x13\xda")
    assert dict(found.accepted) == {"value": Decimal("50.82")}


def test_a_name_beside_the_type_counts_as_well() -> None:
    schema = fields(
        ("id", "string"),
        ("day", "int"),
        ("maybe", ["null", {"type": "int"}]),
        ("at", {"type": "long"}),
        name="Envelope",
    )
    for field in schema["fields"][1:3]:
        field["connect.name"] = DEBEZIUM + "Date"
    schema["fields"][3]["type"]["connect.name"] = DEBEZIUM + "MicroTimestamp"
    mapping = Mapping("", "", "id", "", attributes="*", occurred_at="at")
    data = varint(2) + b"u1" + varint(19_723) + varint(1) + varint(19_723) + varint(SECOND * 1_000_000)
    event = Decoder(mapping, writer_schema=schema).decode(record(data))
    assert event is not None
    assert event.attributes == {"day": dt.date(2024, 1, 1), "maybe": dt.date(2024, 1, 1)}
    assert event.occurred_at_ms == SECOND * 1_000
