"""A reader schema's defaults become values like those in a record, also deep inside."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.support.avro import fields, framed, record, varint
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping

DATE = {"type": "int", "logicalType": "date"}
DEBEZIUM_DATE = {"type": "int", "connect.name": "io.debezium.time.Date"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
HOME = fields(("since", DATE), ("city", "string"), ("until", ["null", DATE]), name="Home", until={"default": None})
NEW_YEAR = dt.date(2024, 1, 1)
WRITER = fields(("id", "string"))


def attributes(reader: dict[str, Any], path: str = "*") -> dict[str, object]:
    """What a record without any of the reader's further fields becomes."""
    mapping = Mapping("", "", "id", "", attributes=path, occurred_at="", event_id="")
    decoder = Decoder(mapping, reader_schema=reader)
    decoder.add(7, WRITER)
    event = decoder.decode(record(framed(7, varint(2) + b"u1")))
    assert event is not None
    return dict(event.attributes)


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        (DATE, 19_723, NEW_YEAR),
        (DEBEZIUM_DATE, 19_723, NEW_YEAR),
        ([DATE, "null"], 19_723, NEW_YEAR),
        (["null", DATE], 19_723, NEW_YEAR),
        (["null", DATE], None, None),
        (DECIMAL, "\x01\x2c", Decimal("3.00")),
        ("double", 3, 3.0),
        ("string", "x", "x"),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 0, dt.datetime(1970, 1, 1)),  # noqa: DTZ001 - has no zone
    ],
)
def test_a_default_is_the_value_that_a_record_would_hold(kind: object, default: object, expected: object) -> None:
    reader = fields(("id", "string"), ("value", kind), value={"default": default})
    found = attributes(reader)
    assert repr(found) == repr({"value": expected})


def test_a_default_inside_a_record_a_map_or_another_default_is_a_value_too() -> None:
    home = {"since": 19_723, "city": "Lyon"}
    of_record = fields(("id", "string"), ("home", HOME), home={"default": home})
    assert attributes(of_record, "home") == {"since": NEW_YEAR, "city": "Lyon", "until": None}
    of_map = fields(
        ("id", "string"),
        ("dates", {"type": "map", "values": ["null", DATE]}),
        dates={"default": {"a": 19_723, "b": None}},
    )
    assert attributes(of_map, "dates") == {"a": NEW_YEAR, "b": None}
    by_name = fields(
        ("id", "string"),
        ("one", ["null", HOME]),
        ("homes", {"type": "map", "values": {"type": "array", "items": "Home"}}),
        one={"default": None},
        homes={"default": {"a": [home]}},
    )
    assert attributes(by_name, "homes") == {"a": [{"since": NEW_YEAR, "city": "Lyon", "until": None}]}


def test_a_default_of_a_field_that_a_record_inside_lacks_is_a_value_too() -> None:
    writer = fields(("id", "string"), ("home", fields(("city", "string"), name="Home")))
    reader = fields(
        ("id", "string"),
        ("home", fields(("city", "string"), ("since", DATE), name="Home", since={"default": 19_723})),
    )
    decoder = Decoder(Mapping("", "", "id", "", attributes="home"), writer_schema=writer, reader_schema=reader)
    event = decoder.decode(record(varint(2) + b"u1" + varint(4) + b"Lyon"))
    assert event is not None
    assert event.attributes == {"city": "Lyon", "since": NEW_YEAR}


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (DATE, "2024-01-01"),
        (DATE, True),
        (["null", DATE], "x"),
        (HOME, {"city": "Lyon"}),
        ({"type": "map", "values": DATE}, {"a": "b"}),
        ("string", "a\ud800"),
        ({"type": "map", "values": "int"}, {"a\ud800": 1}),
        ("bytes", "€"),
    ],
)
def test_a_default_that_does_not_fit_its_type_prevents_the_start(kind: object, default: object) -> None:
    reader = fields(("id", "string"), ("value", kind), value={"default": default})
    with pytest.raises(ValueError, match="the reader schema is not a valid Avro schema"):
        Decoder(Mapping(), reader_schema=reader)


ENUM: dict[str, Any] = {"type": "enum", "name": "Tier", "symbols": ["new", "Größe"]}


def test_an_enums_default_stands_for_symbols_that_only_the_writer_has() -> None:
    decoder = Decoder(
        Mapping("", "", "id", "", attributes="*", occurred_at="", event_id=""),
        reader_schema=fields(("id", "string"), ("tier", ENUM | {"default": "Größe"})),
    )
    decoder.add(7, fields(("id", "string"), ("tier", ENUM | {"symbols": ["old", "new"], "default": "no symbol"})))
    events = [decoder.decode(record(framed(7, varint(2) + b"u1" + varint(index)))) for index in (0, 1)]
    assert [dict(event.attributes) for event in events if event is not None] == [{"tier": "Größe"}, {"tier": "new"}]


def test_a_readers_enum_with_a_default_that_is_no_symbol_prevents_the_start() -> None:
    with pytest.raises(ValueError, match="the reader schema is not a valid Avro schema: the default of an enum is not"):
        attributes(fields(("id", "string"), ("tier", ENUM | {"default": "old"})))


def test_an_enums_default_that_is_no_text_is_none() -> None:
    reader = fields(("id", "string"), ("tier", ENUM | {"default": 7}))
    decoder = Decoder(Mapping("", "", "id", "", attributes="*", occurred_at="", event_id=""), reader_schema=reader)
    decoder.add(7, fields(("id", "string"), ("tier", ENUM | {"symbols": ["old", "new"]})))
    with pytest.raises(Undecodable, match="does not resolve to the reader schema"):
        decoder.decode(record(framed(7, varint(2) + b"u1" + varint(0))))
