"""A dead letter as JSON, and in a line. Values and identifiers only if they are asked for."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final

from worker.core.letters.values import value_and_text
from worker.core.model import Letter, LostAttribute, Source, User
from worker.jobs.letters import Found

_ID_SHOWN: Final = 12
_NAMES_SHOWN: Final = 5


def document(found: Found, *, values: bool) -> dict[str, object]:
    """The letter with the field names of its schema, and its `state`. Bytes are base64, times ISO 8601."""
    letter, answer, worker = found.letter, found.letter.answer, found.letter.worker
    shown: dict[str, object] = {
        "id": letter.id,
        "state": found.state,
        "reason": letter.reason.value,
        "detail": letter.detail,
        "failed_at": moment(letter.failed_at_ms),
        "attempts": letter.attempts,
        "worker": None
        if worker is None
        else {"version": worker.version, "instance": worker.instance, "group_id": worker.group_id},
        "sources": [_source(source, values=values) for source in letter.sources],
        "cut": list(letter.cut),
        "attributes": [_attribute(attribute, values=values) for attribute in letter.attributes],
        "response": None
        if answer is None
        else {
            "status": answer.status,
            "request_id": answer.request_id,
            **({"body": answer.body} if values else {}),  # it may repeat a value
        },
    }
    if values:
        shown |= {
            "user": None if letter.user is None else _user(letter.user),
            "key": _base64(letter.record_key),
            "value": _base64(letter.record_value),
        }
    return shown


def line(found: Found, *, values: bool) -> str:
    """The letter in a line, for people."""
    letter = found.letter
    words = [
        printable(letter.id[:_ID_SHOWN]),
        f"{printable(found.state):<9}",
        moment(letter.failed_at_ms),
        f"{letter.reason.value:<22}",
        _places(letter),
        _names(letter, values=values),
    ]
    if values and letter.user is not None:
        words.append(json.dumps(_user(letter.user), ensure_ascii=False))
    return "  ".join(word for word in words if word)


def printable(text: str) -> str:
    """Text for a terminal: anybody may have written it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def moment(ms: int) -> str:
    """A time as it can be typed again. One outside of the years that Python knows stays a number."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(ms)


def _places(letter: Letter) -> str:
    places = [f"{printable(each.partition.topic)}/{each.partition.number}:{each.offset}" for each in letter.sources]
    return (places[0] if places else "no source") + (f" and {len(places) - 1} more" if len(places) > 1 else "")


def _names(letter: Letter, *, values: bool) -> str:
    named = []
    for attribute in letter.attributes[:_NAMES_SHOWN]:
        value, text = _value(attribute)
        content = json.dumps(value if text is None else text, ensure_ascii=False)
        named.append(f"{printable(attribute.name)}={content}" if values else printable(attribute.name))
    more = len(letter.attributes) - _NAMES_SHOWN
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _source(source: Source, *, values: bool) -> Mapping[str, object]:
    return {
        "topic": source.partition.topic,
        "partition": source.partition.number,
        "offset": source.offset,
        "timestamp": moment(source.timestamp_ms),
        **({"event_id": source.event_id} if values else {}),
    }


def _attribute(attribute: LostAttribute, *, values: bool) -> Mapping[str, object]:
    value, text = _value(attribute)
    return {
        "name": attribute.name,
        **({"value": value, "text": text} if values else {}),
        "occurred_at": None if attribute.occurred_at_ms is None else moment(attribute.occurred_at_ms),
        "topic": attribute.partition.topic,
        "partition": attribute.partition.number,
        "offset": attribute.offset,
    }


def _value(attribute: LostAttribute) -> tuple[object, str | None]:
    """The schema's `value` and `text`. JSON has no NaN, no infinity and no date: these are strings."""
    value, text = value_and_text(attribute.value)
    if isinstance(value, date):
        return value.isoformat(), text
    return (str(value) if isinstance(value, float) and not math.isfinite(value) else value), text


def _user(user: User) -> Mapping[str, object]:
    return {
        "phone": user.phone,
        "email": user.email,
        "client_user_id": user.client_user_id,
        "custom_identifiers": [{"name": name, "value": value} for name, value in user.custom],
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
