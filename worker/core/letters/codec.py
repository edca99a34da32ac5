"""Encodes a dead letter: Avro by `schemas/dead_letter.avsc`, framed like the input, and cut to fit the topic."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping

import fastavro

from worker.core.letters.cuts import CUTS, LAST_CUTS, Datum
from worker.core.letters.letter import REQUEST_ID_MAX_BYTES, trace_context
from worker.core.letters.values import TEXT_MAX_BYTES, utf8, value_and_text
from worker.core.model import Letter, LostAttribute, Source, User, WorkerIdentity

Headers = list[tuple[str, str | bytes | None]]
Encoded = tuple[bytes | None, bytes, Headers]
"""Kafka key, value and headers."""

_DATES_MIN_MS, _DATES_MAX_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999: readers fail on others


def letter_id(letter: Letter) -> str:
    """A letter's id, from its content: the same sources, attributes and reason give the same 32 hex digits."""
    content = [
        letter.reason.value,
        sorted([source.partition.topic, source.partition.number, source.offset] for source in letter.sources),
        sorted([attribute.name, *_fingerprint(attribute.value)] for attribute in letter.attributes),
    ]
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def encode(
    letter: Letter,
    *,
    worker: WorkerIdentity,
    schema: Mapping[str, object],
    schema_id: int | None,
    max_bytes: int,
) -> Encoded:
    """Encodes a letter.

    Args:
        letter: what to write.
        worker: who writes it.
        schema: `dead_letter.avsc`, parsed by fastavro.
        schema_id: for Confluent framing (a zero byte and the id in 4 bytes); None gives bare Avro.
        max_bytes: bound of key and value together. A larger letter is cut as `worker.core.letters.cuts` says, and its
            `detail` names the cuts. If the letter is still larger with all cuts (6 KB at most), it stays that large.
    """
    key = letter.record_key
    datum = _datum(letter, worker)
    value = _framed(datum, schema, schema_id)
    cuts: list[str] = []

    def excess() -> int:
        return len(value) + len(key or b"") - max_bytes

    def cut_again(name: str) -> bytes:
        cuts.append(name)
        return _framed({**datum, "detail": f"{datum['detail']}{_cut_note(cuts)}"}, schema, schema_id)

    for phase in (CUTS, LAST_CUTS):
        for name, cut in phase:
            if excess() > 0 and cut(datum, excess() + len(_cut_note([*cuts, name]))):
                value = cut_again(name)
        if key is not None and 0 < excess() <= len(key):
            key = None
            value = cut_again("key")
    return key, value, _headers(letter)


def _cut_note(cuts: list[str]) -> str:
    return f" [cut to fit: {', '.join(cuts)}]"


def _framed(datum: Datum, schema: Mapping[str, object], schema_id: int | None) -> bytes:
    buffer = io.BytesIO()
    if schema_id is not None:
        buffer.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(buffer, dict(schema), datum)
    return buffer.getvalue()


def _headers(letter: Letter) -> Headers:
    headers: Headers = [("reason", letter.reason.value.encode())]
    if letter.sources:
        first = letter.sources[0]
        headers += [
            ("source.topic", first.partition.topic.encode()),
            ("source.partition", str(first.partition.number).encode()),
            ("source.offset", str(first.offset).encode()),
        ]
    # `encode` bounds only key and value. `trace_context` bounds the headers.
    return headers + list(trace_context(letter.headers))


def _datum(letter: Letter, worker: WorkerIdentity) -> Datum:
    answer = letter.answer
    return {
        "id": letter_id(letter),
        "reason": letter.reason.value,
        "detail": utf8(letter.detail, TEXT_MAX_BYTES),
        "failed_at": letter.failed_at_ms,
        "attempts": letter.attempts,
        "worker": {"version": worker.version, "instance": worker.instance, "group_id": worker.group_id},
        "sources": [_source(source) for source in letter.sources],
        "user": None if letter.user is None else _user(letter.user),
        "attributes": [_attribute(attribute) for attribute in letter.attributes],
        "response": None
        if answer is None
        else {
            "status": answer.status,
            "request_id": None if answer.request_id is None else utf8(answer.request_id, REQUEST_ID_MAX_BYTES),
            "body": utf8(answer.body, TEXT_MAX_BYTES),
        },
        "key": None if letter.record_value is None else letter.record_key,
        "value": letter.record_value,
    }


def _source(source: Source) -> Datum:
    return {
        "topic": source.partition.topic,
        "partition": source.partition.number,
        "offset": source.offset,
        "timestamp": min(max(source.timestamp_ms, _DATES_MIN_MS), _DATES_MAX_MS),
        "event_id": None if source.event_id is None else utf8(source.event_id),
    }


def _user(user: User) -> Datum:
    return {
        "phone": None if user.phone is None else utf8(user.phone),
        "email": None if user.email is None else utf8(user.email),
        "client_user_id": None if user.client_user_id is None else utf8(user.client_user_id),
        "custom_identifiers": [{"name": utf8(name), "value": utf8(value)} for name, value in user.custom],
    }


def _attribute(attribute: LostAttribute) -> Datum:
    value, text = value_and_text(attribute.value)
    occurred_at = attribute.occurred_at_ms
    return {
        "name": utf8(attribute.name),
        "value": value,
        # Readers fail on a time outside these years. The source record still has it.
        "occurred_at": None
        if occurred_at is None or not _DATES_MIN_MS <= occurred_at <= _DATES_MAX_MS
        else occurred_at,
        "partition": attribute.partition,
        "offset": attribute.offset,
        "text": text,
    }


def _fingerprint(raw: object) -> tuple[str, str]:
    value, text = value_and_text(raw)
    return type(value).__name__, f"{value!r}/{text!r}"
