"""A dead letter can be written whatever it carries; it fits the topic's limit and can be read back."""

from __future__ import annotations

import io
import json
import math
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import fastavro
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.letters.codec import Encoded, Headers, LetterReader, NotALetter, encode
from worker.core.letters.datum import letter_id
from worker.core.model import Answer, Letter, LostAttribute, Partition, Reason, Record, Source, User, WorkerIdentity

SCHEMA = cast("dict[str, object]", fastavro.parse_schema(json.loads(Path("schemas/dead_letter.avsc").read_text())))
WORKER = WorkerIdentity("1.2.3", "host-1", "attribute-worker")
LIMIT = 1_000_000
P2 = Partition("profile-changes", 2)


def letter(*values: object, **changes: object) -> Letter:
    base = Letter(
        reason=Reason.REJECTED,
        detail="the API refused it",
        failed_at_ms=1_700_000_000_000,
        attempts=3,
        sources=(Source(P2, 41, 1_699_999_999_000, "event-1"),),
        user=User(phone="+13115552368", custom=(("crm", "7"),)),
        attributes=tuple(LostAttribute(f"name-{n}", value, 5, P2, 41) for n, value in enumerate(values)),
        record_key=b"+13115552368",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # a test names fields of Letter


def written(given: Letter, max_bytes: int = LIMIT) -> tuple[bytes | None, dict[str, object], Headers]:
    key, value, headers = encode(given, worker=WORKER, schema=SCHEMA, schema_id=None, max_bytes=max_bytes)
    datum = fastavro.schemaless_reader(io.BytesIO(value), SCHEMA, None)
    assert isinstance(datum, dict)
    return key, datum, headers


def attribute_of(value: object) -> tuple[object, object]:
    _, datum, _ = written(letter(value))
    [attribute] = cast("list[dict[str, object]]", datum["attributes"])
    return attribute["value"], attribute["text"]


@pytest.mark.parametrize(
    ("raw", "value", "text"),
    [
        (None, None, None),
        (True, True, None),
        (2**63 - 1, 2**63 - 1, None),
        (2**63, None, str(2**63)),
        (-0.5, -0.5, None),
        (math.inf, math.inf, None),
        ("2024-02-29", "2024-02-29", None),
        ("lone \ud800", "lone \\ud800", None),
        (date(2024, 2, 29), date(2024, 2, 29), None),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02-29T12:00:00+00:00", None),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007", None),
        (Decimal("50.890"), 50.89, "50.890"),
        (Decimal("1e400"), None, "1E+400"),
        (Decimal("NaN"), None, "NaN"),
        (["chicago", "new york"], None, '["chicago", "new york"]'),
        ({"a": {"b": Decimal("1.10"), "c": b"\x00"}}, None, '{"a": {"b": "1.10", "c": "AA=="}}'),
        (b"\xff\xfe", None, '"//4="'),
    ],
)
def test_a_value_keeps_its_type_or_stands_exactly_in_text(raw: object, value: object, text: object) -> None:
    got = attribute_of(raw)
    assert got == (value, text)
    assert type(got[0]) is type(value)


def test_nan_is_a_double() -> None:
    value, _ = attribute_of(math.nan)
    assert isinstance(value, float)
    assert math.isnan(value)


def test_text_is_bounded_however_large_or_deep_the_value_is() -> None:
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    for raw in (deep, ["x" * 50] * 1_000_000, "é" * 3, b"\0" * 10_000_000, 10**100_000):
        _, text = attribute_of(raw)
        assert text is None or len(str(text).encode()) <= 4096


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
    | st.binary()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
text = st.text(st.characters(codec=None, categories=None), max_size=50)
topics = st.text("abcXYZ019._-", min_size=1, max_size=249)  # what a topic's name may have
letters = st.builds(
    Letter,
    reason=st.sampled_from(Reason),
    detail=text,
    failed_at_ms=st.integers(0, 2**41),
    attempts=st.integers(0, 1000),
    sources=st.lists(
        st.builds(
            Source,
            partition=st.builds(Partition, topic=st.just("t"), number=st.integers(0, 9)),
            offset=st.integers(0, 2**62),
            timestamp_ms=st.integers(-(2**63), 2**63 - 1),
            event_id=st.none() | text,
        ),
        max_size=4,
    ).map(tuple),
    user=st.none() | st.builds(User, phone=st.none() | text, email=st.none() | text),
    attributes=st.lists(
        st.builds(
            LostAttribute,
            name=text,
            value=anything,
            occurred_at_ms=st.none() | st.integers(-(2**63), 2**63 - 1),
            partition=st.builds(Partition, topic=topics, number=st.integers(0, 9)),
            offset=st.integers(0, 2**62),
        ),
        max_size=4,
    ).map(tuple),
    answer=st.none()
    | st.builds(Answer, status=st.integers(100, 599), request_id=st.none() | text, body=st.text(max_size=6000)),
    record_key=st.none() | st.binary(max_size=2000),
    record_value=st.none() | st.binary(max_size=9000),
    headers=st.just((("traceparent", b"00-a-b-01"), ("secret", b"s"), ("tracestate", None))),
)


@given(letters, st.integers(1500, 20_000))
def test_every_letter_is_written_and_read_back(made: Letter, max_bytes: int) -> None:
    key, datum, headers = written(made, max_bytes)
    assert datum["id"] == letter_id(made)
    assert datum["reason"] == made.reason
    assert len(cast("list[object]", datum["attributes"])) == len(made.attributes)
    assert key in {made.record_key, None}
    if set(cast("list[str]", datum["cut"])) - {"value"}:
        assert datum["value"] in {None, b""}, "nothing else is cut while there is value to cut"
    assert ("traceparent", b"00-a-b-01") in headers
    assert "secret" not in dict(headers)


def record_of(written: Encoded) -> Record:
    key, value, headers = written
    return Record(Partition("letters", 0), 7, 0, key, value, tuple(headers))  # type: ignore[arg-type]  # all are bytes


@given(letters)
def test_a_letter_that_is_read_back_is_written_again_in_the_same_bytes(made: Letter) -> None:
    """But for names with half a surrogate, which no Avro text has: they are written escaped."""
    assume(not any("\ud800" <= each <= "\udfff" for lost in made.attributes for each in lost.name))
    once = encode(made, worker=WORKER, schema=SCHEMA, schema_id=None, max_bytes=LIMIT)
    back = LetterReader(SCHEMA).read(record_of(once), 0)
    assert (back.id, back.worker, back.cut, back.reason) == (letter_id(made), WORKER, (), made.reason)
    assert back.record_key == made.record_key
    again = encode(replace(back, id=""), worker=WORKER, schema=SCHEMA, schema_id=None, max_bytes=LIMIT)
    assert again == once


def test_a_letter_that_was_cut_still_has_its_key_and_its_id() -> None:
    made = letter("s" * 5000, record_key=b"k" * 900)
    once = encode(made, worker=WORKER, schema=SCHEMA, schema_id=258, max_bytes=1500)
    back = LetterReader(SCHEMA).read(record_of(once), 5)
    assert back.cut == ("attributes.value", "key")
    assert (back.id, back.record_key) == (letter_id(made), made.record_key)


def test_what_is_no_letter_is_told_in_words_without_its_content() -> None:
    _, whole, _ = encode(letter("secret"), worker=WORKER, schema=SCHEMA, schema_id=None, max_bytes=LIMIT)
    unknown = whole.replace(b"rejected", b"rejectee")
    other: object = {"type": "record", "name": "Else", "fields": []}
    for schema, value in [(SCHEMA, b""), (SCHEMA, b"secret"), (SCHEMA, whole + b"0"), (SCHEMA, unknown), (other, b"")]:
        with pytest.raises(NotALetter) as caught:
            LetterReader(schema).read(record_of((None, value, [])), 0)
        assert "secret" not in str(caught.value)


def test_confluent_framing_precedes_the_same_bytes() -> None:
    arguments = {"worker": WORKER, "schema": SCHEMA, "max_bytes": LIMIT}
    _, bare, _ = encode(letter(1), schema_id=None, **arguments)  # type: ignore[arg-type]  # as above
    _, framed, _ = encode(letter(1), schema_id=258, **arguments)  # type: ignore[arg-type]  # as above
    assert framed == b"\x00\x00\x00\x01\x02" + bare


def test_headers_give_the_reason_and_the_source() -> None:
    _, _, headers = written(letter(1, headers=(("traceparent", b"00-a-b-01"), ("other", b"x"))))
    assert headers == [
        ("reason", b"rejected"),
        ("source.topic", b"profile-changes"),
        ("source.partition", b"2"),
        ("source.offset", b"41"),
        ("traceparent", b"00-a-b-01"),
    ]


def test_the_id_depends_on_what_was_lost_and_not_on_when_or_after_how_many_attempts() -> None:
    first = letter(1, "a")
    assert letter_id(first) == letter_id(replace(first, failed_at_ms=9, attempts=9, detail="else"))
    others = [letter(1, "b"), letter(True, "a"), replace(first, reason=Reason.NOT_FOUND)]  # noqa: FBT003 - a value
    others.append(replace(first, sources=(replace(first.sources[0], offset=42),)))
    assert len({letter_id(each) for each in [first, *others]}) == 5


class TestCutting:
    def test_cuts_the_raw_value_first_and_says_so(self) -> None:
        made = letter(reason=Reason.UNDECODABLE, user=None, record_value=random.Random(1).randbytes(50_000))
        key, datum, _ = written(replace(made, answer=Answer(200, None, "kept")), 10_000)
        value = datum["value"]
        assert isinstance(value, bytes)
        assert made.record_value is not None
        assert made.record_value.startswith(value)
        assert len(value) > 8000
        assert key == made.record_key
        assert datum["response"] == {"status": 200, "request_id": None, "body": "kept"}
        assert datum["cut"] == ["value"]

    @pytest.mark.parametrize("max_bytes", [2_000, 10_000, 16_700])
    def test_however_long_the_text_is_the_key_stays_while_there_is_value_to_cut(self, max_bytes: int) -> None:
        """The sizes that Avro writes before texts and bytes grow in steps: each cut must make room for the next."""
        for size in range(30, 130):
            made = letter(record_value=b"v" * 50_000, detail="d" * size, user=None)
            key, value, _ = encode(made, worker=WORKER, schema=SCHEMA, schema_id=7, max_bytes=max_bytes)
            _, datum, _ = written(made, max_bytes)
            assert (key, datum["key"], datum["cut"]) == (made.record_key, made.record_key, ["value"]), size
            assert max_bytes - 20 < len(value) + len(key or b"") <= max_bytes, size

    def test_cuts_part_after_part_until_the_letter_fits(self) -> None:
        source = letter().sources[0]
        made = letter(
            *["s" * 5000] * 5,
            ["t" * 5000],
            answer=Answer(400, "r", "b" * 4000),
            sources=tuple(replace(source, offset=n) for n in range(1000)),
        )
        key, value, _ = encode(made, worker=WORKER, schema=SCHEMA, schema_id=7, max_bytes=2048)
        assert len(value) + len(key or b"") <= 2048
        _, datum, _ = written(made, 2048)
        assert datum["cut"] == ["response.body", "attributes.text", "attributes.value", "sources"]
        kept = [source["offset"] for source in cast("list[dict[str, object]]", datum["sources"])]
        assert kept == [0, 999]
        assert datum["id"] == letter_id(made)

    def test_leaves_the_key_out_if_nothing_else_is_left_to_cut(self) -> None:
        key, datum, _ = written(letter(1, record_key=b"k" * 5000), 2048)
        assert key is None
        assert datum["cut"] == ["key", "message.key"]

    def test_leaves_attributes_out_if_the_letter_could_never_fit_with_them(self) -> None:
        made = letter(*[math.nan] * 5_000)
        key, datum, _ = written(made, 100_000)
        kept = cast("list[dict[str, object]]", datum["attributes"])
        assert [attribute["name"] for attribute in kept] == [f"name-{n}" for n in range(len(kept))]
        assert 2_000 < len(kept) < 5_000
        assert key == made.record_key
        assert cast("list[str]", datum["cut"])[-2:] == ["sources.event_id", "attributes"]
        assert datum["user"] is not None

    @pytest.mark.parametrize(
        "changes",
        [
            {"attributes": (LostAttribute("n" * 1_000_000, "v" * 1_000_000, 1, Partition("t", 0), 0),)},
            {"user": User(phone="1" * 1_000_000)},
            {"user": User(custom=(("n", "v"),) * 30_000), "record_key": b"k" * 900_000},
            {"sources": (Source(Partition("t", 0), 0, 0, "e" * 1_000_000),)},
            {"answer": Answer(400, "r" * 1_000_000, "b" * 1_000_000)},
            {"headers": (("tracestate", b"x" * 1_000_000),)},
            {"detail": "d" * 1_000_000, "record_value": b"v" * 1_000_000},
        ],
        ids=["name and value", "phone", "identifiers and key", "event id", "response", "header", "detail and value"],
    )
    def test_no_part_of_a_letter_keeps_it_too_large(self, changes: dict[str, object]) -> None:
        made = letter(1, **changes)
        key, value, headers = encode(made, worker=WORKER, schema=SCHEMA, schema_id=7, max_bytes=6_144)
        assert len(key or b"") + len(value) + sum(len(name) + len(item or b"") for name, item in headers) < 7_000


class _Days(int):
    """An int like those that libraries make. `x in range(n)` compares a subclass of int with each number in turn."""


def test_a_subclass_of_int_is_a_number_like_any_other() -> None:
    assert attribute_of(_Days(2**62)) == (2**62, None)
    assert attribute_of(_Days(2**63)) == (None, str(2**63))
    made = letter(sources=(Source(Partition("t", 0), 0, _Days(2**62), None),))
    _, datum, _ = written(replace(made, attributes=(LostAttribute("n", 1, _Days(2**62), Partition("t", 0), 0),)))
    assert cast("list[dict[str, object]]", datum["attributes"])[0]["occurred_at"] is None
