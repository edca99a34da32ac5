"""Identity and attributes from the Kafka key, and schemas that headers name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.avro import NOWHERE, TOPIC, body, fields, framed
from worker.core.events import planning
from worker.core.events.decode import Decoder, SchemaMissing, Undecodable
from worker.core.events.extract import extractor
from worker.core.events.keys import KeyForm
from worker.core.events.mapping import Mapping, Shape
from worker.core.events.places import Naming
from worker.core.events.reading import NeedsSchema, PassedOver, Unreadable, read
from worker.core.letters.letter import headers_of_letter, headers_of_record, letter_of_record, used_headers
from worker.core.model import Event, Headers, Now, Record

KEY = fields(("id", "long"), ("region", ["null", "string"]), name="Key")
VALUE = fields(("id", "string"), ("tier", "string"), name="Value")
VALUE_DATA = body(VALUE, {"id": "of value", "tier": "gold"})
KEY_DATA = body(KEY, {"id": 7, "region": "eu"})
GUID = UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")


def mapping(**settings: Any) -> Mapping:  # noqa: ANN401 - Mapping's fields
    return Mapping(**{**NOWHERE, "attributes": "tier", "client_user_id": "key.id", **settings})


def keyed(key: bytes | None, value: bytes = framed(2, VALUE_DATA), headers: Headers = ()) -> Record:
    return Record(TOPIC, 0, 0, key, value, headers)


def knowing(decoder: Decoder) -> Decoder:
    decoder.add(1, KEY)
    decoder.add(2, VALUE)
    return decoder


def event_of(decoder: Decoder, record: Record) -> Event:
    event = decoder.decode(record)
    assert event is not None
    return event


def test_identity_and_attributes_come_from_an_avro_key_with_a_schema_of_its_own() -> None:
    decoder = knowing(Decoder(mapping(attributes="key.*, tier", event_id="key.region")))
    event = event_of(decoder, keyed(framed(1, KEY_DATA)))
    assert (event.user.client_user_id, event.event_id) == ("7", "eu")
    assert event.attributes == {"tier": "gold"}, "what names the user or the event is no attribute"
    regional = event_of(knowing(Decoder(mapping(attributes="key.*, tier"))), keyed(framed(1, KEY_DATA)))
    assert regional.attributes == {"tier": "gold", "region": "eu"}


def test_the_schema_of_a_key_is_asked_for_like_a_values() -> None:
    decoder = Decoder(mapping())
    for schema_id, schema in ((2, VALUE), (1, KEY)):
        with pytest.raises(SchemaMissing) as missing:
            decoder.decode(keyed(framed(1, KEY_DATA)))
        assert missing.value.schema_id == schema_id
        decoder.add(schema_id, schema)
    assert event_of(decoder, keyed(framed(1, KEY_DATA))).user.client_user_id == "7"


def test_keys_of_several_schemas_may_stand_beside_each_other() -> None:
    decoder = knowing(Decoder(mapping(client_user_id="key.id | key.no | key")))
    decoder.add(3, fields(("no", "string"), name="Other"))
    decoder.add(4, "string")
    keys = [
        framed(1, KEY_DATA),
        framed(3, body(fields(("no", "string")), {"no": "n3"})),
        framed(4, body("string", "plain")),
    ]
    assert [event_of(decoder, keyed(key)).user.client_user_id for key in (*keys, *keys)] == ["7", "n3", "plain"] * 2


@pytest.mark.parametrize(
    ("form", "key", "path"),
    [
        (KeyForm("text"), b"7", "key"),
        (KeyForm("integer"), b"\0\x07", "key"),
        (KeyForm("integer"), b"\0\0\0\x07", "key"),
        (KeyForm("integer"), b"\0\0\0\0\0\0\0\x07", "key"),
        (KeyForm("none", KEY), KEY_DATA, "key.id"),
        (KeyForm("none", "string"), body("string", "7"), "key"),
    ],
)
def test_keys_may_be_text_a_whole_number_or_bare_avro(form: KeyForm, key: bytes, path: str) -> None:
    decoder = Decoder(mapping(client_user_id=path), key=form)
    decoder.add(2, VALUE)
    assert event_of(decoder, keyed(key)).user.client_user_id == "7"
    bare = Decoder(mapping(client_user_id=path), writer_schema=VALUE, key=form)
    assert event_of(bare, keyed(key, VALUE_DATA)).user.client_user_id == "7"


def test_a_record_without_a_key_has_nothing_there() -> None:
    either = mapping(client_user_id="key.id | id")
    assert event_of(knowing(Decoder(either)), keyed(None)).user.client_user_id == "of value"
    text = Decoder(mapping(client_user_id="key | id"), key=KeyForm("text"))
    text.add(2, VALUE)
    assert [event_of(text, keyed(key)).user.client_user_id for key in (None, b"", b"k")] == [
        "of value",
        "of value",
        "k",
    ]


@pytest.mark.parametrize(
    ("form", "key", "why"),
    [
        (KeyForm(), b"plain", "key: the first byte is not the magic byte 0"),
        (KeyForm(), b"", "key: the record is empty"),
        (KeyForm(), framed(1, b""), "key: Key.id: the record ends within it"),
        (KeyForm(), framed(5, KEY_DATA), "key: schema 5 does not exist"),
        (KeyForm(), framed(6, KEY_DATA), "key: schema 6: not a valid Avro schema"),
        (KeyForm(), framed(2**31, KEY_DATA), "key: schema id 2147483648 is larger"),
        (KeyForm("text"), b"\xff", "key: it is not UTF-8 text"),
        (KeyForm("integer"), b"7", "key: a whole number has 2, 4 or 8 bytes, this one 1"),
        (KeyForm("integer"), b"", "key: a whole number has 2, 4 or 8 bytes, this one 0"),
        (KeyForm("none", KEY), b"", "key: Key.id: the record ends within it"),
    ],
)
def test_a_key_that_cannot_be_read_makes_a_letter_and_nothing_else(form: KeyForm, key: bytes, why: str) -> None:
    decoder = knowing(Decoder(mapping(client_user_id="key.id | key | id"), key=form))
    decoder.add(5, None)
    decoder.add(6, {"type": "recor"})
    content = read(keyed(key), decoder)
    assert isinstance(content, Unreadable)
    assert content.detail.startswith(why)
    assert read(Record(TOPIC, 0, 0, key, None), decoder) == PassedOver(tombstone=True), (
        "a tombstone's key is not looked at"
    )
    unkeyed = knowing(Decoder(mapping(client_user_id="id")))
    assert event_of(unkeyed, keyed(key)).user.client_user_id == "of value", "without such a path no key is looked at"


@pytest.mark.parametrize(("form", "key"), [(KeyForm(), b"7"), (KeyForm("text"), b"\xff"), (KeyForm("integer"), b"7")])
def test_a_key_that_is_written_in_another_way_is_told_by_the_setting(form: KeyForm, key: bytes) -> None:
    content = read(keyed(key), knowing(Decoder(mapping(client_user_id="key | id"), key=form)))
    assert isinstance(content, Unreadable)
    assert content.detail.endswith("; WORKER_SCHEMAS__KEY_FRAMING says how keys are written")


_HOSTILE = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.binary(max_size=20).map(lambda data: framed(1, data)),
    st.binary(max_size=20).map(lambda data: b"\1" + GUID.bytes + data),
)


@given(
    key=_HOSTILE,
    value=_HOSTILE,
    named=_HOSTILE,
    keyed_by=_HOSTILE,
    form=st.sampled_from(["confluent", "text", "integer", "none"]),
)
def test_no_bytes_of_a_key_or_of_a_header_raise_anything_else(
    key: bytes | None, value: bytes | None, named: bytes | None, keyed_by: bytes | None, form: str
) -> None:
    decoder = knowing(Decoder(mapping(attributes="*, key.*"), key=KeyForm(form, KEY if form == "none" else None)))
    headers: Headers = tuple(
        (name, given)
        for name, given in (("__value_schema_id", named), ("__key_schema_id", keyed_by))
        if given is not None
    )
    assert isinstance(
        read(Record(TOPIC, 0, 0, key, value, headers), decoder), Event | Unreadable | PassedOver | NeedsSchema
    )


def test_a_mapping_that_does_not_fit_a_schema_is_compiled_once_and_refuses_each_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[Mapping] = []

    def counted(mapping: Mapping, shape: Shape, named: Naming) -> object:
        compiled.append(mapping)
        return extractor(mapping, shape, named)

    monkeypatch.setattr(planning, "extractor", counted)
    decoder = knowing(Decoder(mapping(attributes="x=key")))
    for _ in range(3):
        with pytest.raises(Undecodable, match="schema 2: attributes: x=key is not one scalar field"):
            decoder.decode(keyed(framed(1, KEY_DATA)))
    assert len(compiled) == 1


def test_a_header_may_name_the_schema_of_a_value_or_a_key() -> None:
    guid = b"\1" + GUID.bytes
    headers = (("__value_schema_id", guid), ("__key_schema_id", framed(1, b"")))
    decoder = Decoder(mapping())
    decoder.add(1, KEY)
    with pytest.raises(SchemaMissing) as missing:
        decoder.decode(keyed(KEY_DATA, VALUE_DATA, headers))
    assert missing.value.schema_id == str(GUID)
    decoder.add(str(GUID), VALUE)
    event = event_of(decoder, keyed(KEY_DATA, VALUE_DATA, headers))
    assert (event.user.client_user_id, event.attributes) == ("7", {"tier": "gold"})
    for odd in (b"", b"\1", b"\2" + GUID.bytes, None):
        content = read(keyed(framed(1, KEY_DATA), VALUE_DATA, (("__value_schema_id", odd),)), decoder)
        assert isinstance(content, Unreadable)
        assert "the header __value_schema_id holds neither" in content.detail


@pytest.mark.parametrize("odd", [b"", b"\1", b"a trace", None])
def test_a_header_that_names_no_schema_condemns_no_value_that_does(odd: bytes | None) -> None:
    decoder = Decoder(mapping())
    decoder.add(1, KEY)
    decoder.add(2, VALUE)
    event = event_of(decoder, keyed(framed(1, KEY_DATA), framed(2, VALUE_DATA), (("__value_schema_id", odd),)))
    assert (event.user.client_user_id, event.attributes) == ("7", {"tier": "gold"})


def test_a_letter_keeps_the_header_that_names_its_records_schema() -> None:
    record = keyed(
        None, VALUE_DATA, (("__value_schema_id", b"\1" + GUID.bytes), ("traceparent", b"00-1"), ("other", b"x"))
    )
    letter = letter_of_record(record, "no", Now(0.0, 0))
    written = headers_of_letter(letter.headers)
    assert dict(written) == {"traceparent": b"00-1", "source.__value_schema_id": b"\1" + GUID.bytes}
    assert dict(headers_of_record(written)) == dict(letter.headers)


@pytest.mark.parametrize(
    ("value", "who"),
    [
        (b"\3\0" + GUID.bytes + VALUE_DATA, "AWS Glue's"),
        (b"\3\5" + GUID.bytes + VALUE_DATA, "AWS Glue's"),
        (bytes(4) + GUID.hex.encode() + VALUE_DATA, "Azure's"),
        (bytes(1) + (7).to_bytes(8, "big") + VALUE_DATA, "Apicurio"),
        (b"\1" + GUID.bytes + VALUE_DATA, "a schema's GUID"),
        (b"plain text", ""),
    ],
)
def test_other_framings_are_named_in_the_letters_text(value: bytes, who: str) -> None:
    decoder = Decoder(mapping(client_user_id="id"))
    for schema_id in (0, ord(GUID.hex[0])):
        decoder.add(schema_id, None)
    content = read(keyed(None, value), decoder)
    assert isinstance(content, Unreadable)
    assert who in content.detail
    assert bool(who) is (";" in content.detail)


@pytest.mark.parametrize(
    ("name", "given", "who"),
    [
        ("content-type", b"avro/binary+6f9619ff8b86d011b42d00cf4fc964ff", "Azure's"),
        ("apicurio.value.globalId", bytes(8), "Apicurio's"),
        ("content-type", b"application/json", ""),
    ],
)
def test_other_registries_are_named_by_their_headers(name: str, given: bytes, who: str) -> None:
    headers = used_headers(((name, given), ("x", b"y")))
    content = read(keyed(None, b"\4u1", headers), Decoder(mapping(client_user_id="id")))
    assert isinstance(content, Unreadable)
    assert who in content.detail
    assert bool(who) is (";" in content.detail)


def test_a_value_of_zero_bytes_is_a_tombstone_if_the_settings_say_so() -> None:
    record = keyed(b"k", b"")
    assert isinstance(read(record, Decoder(mapping())), Unreadable)
    assert read(record, Decoder(mapping(), empty_is_tombstone=True)) == PassedOver(tombstone=True)
