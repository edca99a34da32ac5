"""Makes almost valid records: a valid record of any schema, as a list of pieces, of which a few are then spoilt.

A decoder refuses random bytes at the first length. In these records all other pieces fit, so the decoder reads on past
the spoilt one.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.avro import varint
from worker.core.avro.schema import AvroType, is_record, kind_of

CANARY = "canary"
"""Part of every text in a record: a message that holds it has quoted the record."""

_NUMBERS = (
    0,
    -1,
    1,
    63,
    64,
    -64,
    127,
    2**15,
    2**31,
    -(2**31) - 1,
    2**53,
    2**60,
    2**63 - 1,
    -(2**63),
    2**63,
    2**70,
    -(2**90),
)
_TEXTS = (
    b"", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\0", b"+13115552368", b"canary@example.com",
    "\u202e\ufeff\U0010ffff".encode(), b"canary" * 60, b"2024-02-30T25:61:00Z", "\ufdfa".encode() * 40,
)  # fmt: skip
_FLOATS = (0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 5e-324)
_DEEP = 4

Piece = bytes


def valid(avro: AvroType, rng: random.Random) -> list[Piece]:
    """The pieces of a valid record, each a number, a text or a raw value."""
    return list(_value(avro, avro.root, rng, 0))


def spoilt(pieces: list[Piece], other: list[Piece], rng: random.Random) -> bytes:
    """The record with one to three faults in it; some faults take pieces of the record `other`."""
    pieces = list(pieces)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_PIECEWISE)(pieces, other, rng)
    data = b"".join(pieces)
    return rng.choice(_BYTEWISE)(data, rng) if rng.random() < 0.4 else data


def _value(avro: AvroType, schema: Any, rng: random.Random, depth: int) -> Iterator[Piece]:  # noqa: ANN401 - Avro's schemas are str, dict or list
    schema = avro.resolve(schema)
    kind = kind_of(schema)
    if kind == "union":
        # Deep down take the first branch: it is null in every recursive schema here, so the record ends.
        index = 0 if depth > _DEEP else rng.randrange(len(schema))
        yield varint(index)
        yield from _value(avro, schema[index], rng, depth + 1)
    elif is_record(schema):
        for declared in schema["fields"]:
            yield from _value(avro, declared["type"], rng, depth + 1)
    elif kind in {"array", "map"}:
        yield from _items(avro, schema, rng, depth)
    elif kind == "enum":
        yield varint(rng.randrange(len(schema["symbols"])))
    elif kind == "fixed":
        yield rng.randbytes(schema["size"])
    elif kind in {"string", "bytes"}:
        text = f"{CANARY}-{rng.randrange(100)}".encode()
        yield varint(len(text))
        yield text
    else:
        yield _SCALARS[kind](rng)


def _items(avro: AvroType, schema: dict[str, Any], rng: random.Random, depth: int) -> Iterator[Piece]:
    count = 0 if depth > _DEEP else rng.randint(0, 3)
    pieces: list[Piece] = []
    for _ in range(count):
        if "values" in schema:
            key = f"{CANARY}{rng.randrange(9)}".encode()
            pieces += [varint(len(key)), key]
        pieces += _value(avro, schema.get("values", schema.get("items")), rng, depth + 1)
    if count and rng.random() < 0.3:
        yield varint(-count)
        yield varint(sum(map(len, pieces)))
    elif count:
        yield varint(count)
    yield from pieces
    yield varint(0)


_SCALARS: dict[str, Callable[[random.Random], bytes]] = {
    "null": lambda _rng: b"",
    "boolean": lambda rng: bytes([rng.randrange(2)]),
    "int": lambda rng: varint(rng.randint(-(2**31), 2**31 - 1) >> rng.randrange(31)),
    "long": lambda rng: varint(rng.randint(-(2**63), 2**63 - 1) >> rng.randrange(63)),
    "float": lambda rng: struct.pack("<f", rng.choice(_FLOATS)),
    "double": lambda rng: struct.pack("<d", rng.choice(_FLOATS)),
}


def _replace(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    if pieces:
        pieces[rng.randrange(len(pieces))] = varint(rng.choice(_NUMBERS))


def _lengthen(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    """Writes the same number in a longer form, up to one with more than 64 bits."""
    if pieces and (piece := pieces[at := rng.randrange(len(pieces))]):
        padding = rng.randint(0, 10)
        pieces[at] = piece[:-1] + bytes([piece[-1] | 0x80]) + b"\x80" * padding + b"\0"


def _retext(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    """Replaces a length and its text by an odd text, mostly with the right length."""
    if len(pieces) > 1:
        at = rng.randrange(len(pieces) - 1)
        text = rng.choice(_TEXTS)
        pieces[at : at + 2] = [varint(len(text) + rng.choice((0, 0, 0, -1, 1))), text]


def _repeat(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    if pieces:
        at = rng.randrange(len(pieces))
        end = at + rng.randint(1, 4)
        pieces[at:at] = pieces[at:end] * rng.choice((1, 2, 70))


def _omit(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    if pieces:
        del pieces[rng.randrange(len(pieces))]


def _splice(pieces: list[Piece], other: list[Piece], rng: random.Random) -> None:
    if pieces and other:
        pieces[rng.randrange(len(pieces)) :] = other[rng.randrange(len(other)) :]


def _swap(pieces: list[Piece], _other: list[Piece], rng: random.Random) -> None:
    if pieces:
        one, two = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        pieces[one], pieces[two] = pieces[two], pieces[one]


def _flip(data: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _append(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randint(1, 12))


_PIECEWISE = (_replace, _replace, _lengthen, _retext, _repeat, _omit, _splice, _swap)
_BYTEWISE = (_flip, _flip, _cut, _append)
