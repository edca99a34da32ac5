"""A letter as a record of `schemas/dead_letter.avsc`, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from worker.core.avro.render import OutOfRange
from worker.core.letters.cuts import Datum
from worker.core.letters.letter import REQUEST_ID_MAX_BYTES
from worker.core.letters.values import TEXT_MAX_BYTES, Json, utf8, value_and_text
from worker.core.model import Answer, Letter, LostAttribute, Partition, Reason, Source, User, WorkerIdentity

_DATES_MIN_MS, _DATES_MAX_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999: readers fail on others
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def letter_id(letter: Letter) -> str:
    """A letter's id, from its content: the same sources, attributes and reason give the same 32 hex digits."""
    content = [
        letter.reason.value,
        sorted([source.partition.topic, source.partition.number, source.offset] for source in letter.sources),
        sorted([attribute.name, *_fingerprint(attribute.value)] for attribute in letter.attributes),
    ]
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _fingerprint(raw: object) -> tuple[str, str]:
    value, text = value_and_text(raw)
    return type(value).__name__, f"{value!r}/{text!r}"


def datum_of(letter: Letter, worker: WorkerIdentity) -> Datum:
    """The record that `worker` writes for a letter."""
    answer = letter.answer
    return {
        "id": letter.id or letter_id(letter),
        "reason": letter.reason.value,
        "detail": utf8(letter.detail, TEXT_MAX_BYTES),
        "failed_at": letter.failed_at_ms,
        "attempts": letter.attempts,
        "worker": {"version": worker.version, "instance": worker.instance, "group_id": worker.group_id},
        "sources": [_datum_of_source(source) for source in letter.sources],
        "cut": [],
        "user": None if letter.user is None else _datum_of_user(letter.user),
        "attributes": [_datum_of_attribute(attribute) for attribute in letter.attributes],
        "response": None
        if answer is None
        else {
            "status": answer.status,
            "request_id": None if answer.request_id is None else utf8(answer.request_id, REQUEST_ID_MAX_BYTES),
            "body": utf8(answer.body, TEXT_MAX_BYTES),
        },
        "key": letter.record_key,
        "value": letter.record_value,
    }


def _datum_of_source(source: Source) -> Datum:
    return {
        "topic": source.partition.topic,
        "partition": source.partition.number,
        "offset": source.offset,
        "timestamp": min(max(source.timestamp_ms, _DATES_MIN_MS), _DATES_MAX_MS),
        "event_id": None if source.event_id is None else utf8(source.event_id),
    }


def _datum_of_user(user: User) -> Datum:
    return {
        "phone": None if user.phone is None else utf8(user.phone),
        "email": None if user.email is None else utf8(user.email),
        "client_user_id": None if user.client_user_id is None else utf8(user.client_user_id),
        "custom_identifiers": [{"name": utf8(name), "value": utf8(value)} for name, value in user.custom],
    }


def _datum_of_attribute(attribute: LostAttribute) -> Datum:
    value, text = value_and_text(attribute.value)
    occurred_at = attribute.occurred_at_ms
    return {
        "name": utf8(attribute.name),
        "value": value,
        # Readers fail on a time outside these years. The source record still has it.
        "occurred_at": None
        if occurred_at is None or not _DATES_MIN_MS <= occurred_at <= _DATES_MAX_MS
        else occurred_at,
        "topic": attribute.partition.topic,
        "partition": attribute.partition.number,
        "offset": attribute.offset,
        "text": text,
    }


def letter_of(datum: Mapping[str, Any]) -> Letter:
    """The letter that a record holds, without its headers.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: It is not such a record, or its reason is unknown here.
    """
    user, answer, worker = datum["user"], datum["response"], datum["worker"]
    return Letter(
        reason=Reason(datum["reason"]),
        detail=datum["detail"],
        failed_at_ms=_milliseconds(datum["failed_at"]),
        attempts=datum["attempts"],
        sources=tuple(_source_of(source) for source in datum["sources"]),
        user=None if user is None else _user_of(user),
        attributes=tuple(_attribute_of(attribute) for attribute in datum["attributes"]),
        answer=None if answer is None else Answer(answer["status"], answer["request_id"], answer["body"]),
        record_key=datum["key"],
        record_value=datum["value"],
        id=datum["id"],
        cut=tuple(datum["cut"]),
        worker=WorkerIdentity(worker["version"], worker["instance"], worker["group_id"]),
    )


def _source_of(source: Mapping[str, Any]) -> Source:
    partition = Partition(source["topic"], source["partition"])
    return Source(partition, source["offset"], _milliseconds(source["timestamp"]), source["event_id"])


def _user_of(user: Mapping[str, Any]) -> User:
    custom = tuple((each["name"], each["value"]) for each in user["custom_identifiers"])
    return User(user["phone"], user["email"], user["client_user_id"], custom)


def _attribute_of(attribute: Mapping[str, Any]) -> LostAttribute:
    occurred_at = attribute["occurred_at"]
    return LostAttribute(
        attribute["name"],
        _value_of(attribute["value"], attribute["text"]),
        None if occurred_at is None else _milliseconds(occurred_at),
        Partition(attribute["topic"], attribute["partition"]),
        attribute["offset"],
    )


def _value_of(value: object, text: str | None) -> object:
    """The inverse of `value_and_text`. Texts of dates and times, and UUIDs, stay texts: the API takes them as these."""
    if text is None:
        return value
    return Json(text) if value is None else Decimal(text)


def _milliseconds(moment: datetime | OutOfRange) -> int:
    return moment.units if isinstance(moment, OutOfRange) else (moment - _EPOCH) // _MILLISECOND
