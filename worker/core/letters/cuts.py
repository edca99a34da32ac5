"""What is left out of a dead letter that is too large for its topic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

Datum = dict[str, object]
"""A letter as `schemas/dead_letter.avsc` says, or a record inside one."""

_SOURCES_KEPT: Final = 2
_STRING_KEPT: Final = 64


def _cut_value(datum: Datum, excess: int) -> bool:
    value = datum["value"]
    if not isinstance(value, bytes):
        return False
    datum["value"] = value[: max(0, len(value) - excess)]
    return True


def _cut_body(datum: Datum, _: int) -> bool:
    response = datum["response"]
    if not isinstance(response, dict) or not response["body"]:
        return False
    datum["response"] = {**response, "body": ""}
    return True


def _cut_text(datum: Datum, _: int) -> bool:
    return _cut_attributes(datum, lambda attribute: {**attribute, "text": None} if attribute["text"] else attribute)


def _cut_strings(datum: Datum, _: int) -> bool:
    def shortened(attribute: Datum) -> Datum:
        value = attribute["value"]
        if not isinstance(value, str) or len(value) <= _STRING_KEPT:
            return attribute
        return {**attribute, "value": None, "text": value[:_STRING_KEPT]}

    return _cut_attributes(datum, shortened)


def _cut_attributes(datum: Datum, cut: Callable[[Datum], Datum]) -> bool:
    attributes = datum["attributes"]
    if not isinstance(attributes, list):
        return False
    changed = [cut(attribute) for attribute in attributes]
    datum["attributes"] = changed
    return any(new is not old for new, old in zip(changed, attributes, strict=True))


def _cut_sources(datum: Datum, _: int) -> bool:
    sources = datum["sources"]
    if not isinstance(sources, list) or len(sources) <= _SOURCES_KEPT:
        return False
    datum["sources"] = [sources[0], sources[-1]]
    return True


def _cut_key(datum: Datum, _: int) -> bool:
    had = datum["key"] is not None
    datum["key"] = None
    return had


def _cut_event_ids(datum: Datum, _: int) -> bool:
    sources = datum["sources"]
    if not isinstance(sources, list) or all(source["event_id"] is None for source in sources):
        return False
    datum["sources"] = [{**source, "event_id": None} for source in sources]
    return True


def _cut_whole_attributes(datum: Datum, excess: int) -> bool:
    """Leaves out the last attributes, as many as the excess needs."""
    attributes = datum["attributes"]
    if not isinstance(attributes, list) or not attributes:
        return False
    kept = len(attributes)
    while kept and excess > 0:
        kept -= 1
        excess -= sum(map(_size_bytes, attributes[kept].values()))
    datum["attributes"] = attributes[:kept]
    return True


def _size_bytes(value: object) -> int:
    """The Avro size of an attribute's field, without the one or two bytes of its union index."""
    match value:
        case str():
            return 1 + len(value.encode())
        case float():
            return 8
        case bool() | None | date():
            return 1
        case int():
            return 1 + value.bit_length() // 7
        case _:
            return 0


def _cut_user(datum: Datum, _: int) -> bool:
    had = datum["user"] is not None
    datum["user"] = None
    return had


_Cuts = tuple[tuple[str, Callable[[Datum, int], bool]], ...]

CUTS: Final[_Cuts] = (
    ("value", _cut_value),
    ("response.body", _cut_body),
    ("attributes.text", _cut_text),
    ("attributes.value", _cut_strings),
    ("sources", _cut_sources),
    ("key", _cut_key),
)
"""The cuts, in this order, each with the field that it cuts, as the letter's `cut` names it.

A cut gets the excess in bytes, changes the datum, and returns whether it cut anything. The source record's value goes
first: while Kafka retains the record, its offset still leads there.
"""
LAST_CUTS: Final[_Cuts] = (
    ("sources.event_id", _cut_event_ids),
    ("attributes", _cut_whole_attributes),
    ("user", _cut_user),
)
"""Cuts for a letter that is still too large without its own key. They are needed: a letter that the topic never takes
would keep its source's offset uncommitted for ever."""
