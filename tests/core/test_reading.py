"""The first half of the intake: a record becomes an event, or the reason why it is none."""

from __future__ import annotations

from tests.core.drive import P0, SCHEMA, encode, phone
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.events.reading import NeedsSchema, PassedOver, Unreadable, read
from worker.core.model import Event, Record


def record(value: bytes | None) -> Record:
    return Record(P0, 0, 0, b"key", value)


def test_a_record_is_an_event_or_unreadable_or_passed_over() -> None:
    decoder = Decoder(Mapping(), writer_schema=SCHEMA)
    event = read(record(encode(1, {"a": 1})), decoder)
    assert isinstance(event, Event)
    assert (event.user.phone, event.attributes) == (phone(1), {"a": 1})
    assert isinstance(read(record(b"\xff"), decoder), Unreadable)
    assert read(record(None), decoder) == PassedOver(tombstone=True)


def test_a_record_names_the_schema_that_it_waits_for() -> None:
    decoder, framed = Decoder(Mapping()), record(b"\0\0\0\0\x07" + encode(1, {"a": 1}))
    assert read(framed, decoder) == NeedsSchema(7)
    decoder.add(7, SCHEMA)
    assert isinstance(read(framed, decoder), Event)
    decoder.add(8, None)
    assert read(record(b"\0\0\0\0\x08" + encode(1, {"a": 1})), decoder) == Unreadable("schema 8 does not exist")
