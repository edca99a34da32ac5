"""Functions that read Avro's primitive types, enums and fixed, each from a position in the record's bytes."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeAlias

Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""Takes the record's bytes and a position. Returns a value and the position behind it.

Raises `Misfit` if the bytes do not fit, and IndexError or `Misfit` if they end too early.
"""

TRUNCATED = "the record ends within it"
_SHIFTS = range(21, 64, 7)  # for the fourth to the tenth byte of a number; 64 bits never need more
_LONG_BITS = 64
_INT_MAX = 2**31 - 1
_MORE = 0x80
"""The bit in a number's byte that announces another byte."""


class Misfit(Exception):
    """What is wrong. The text repeats no number of the record: an impossible length may be part of a phone number."""


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bits. It need not be encoded in its shortest form."""
    number = data[at]
    if number < _MORE:
        return (number >> 1) ^ -(number & 1), at + 1
    byte = data[at + 1]  # written out for numbers of two and three bytes, which most are
    number += (byte << 7) - _MORE
    if byte < _MORE:
        return (number >> 1) ^ -(number & 1), at + 2
    byte = data[at + 2]
    number += (byte << 14) - (_MORE << 7)
    if byte < _MORE:
        return (number >> 1) ^ -(number & 1), at + 3
    number -= _MORE << 14
    at += 3
    for shift in _SHIFTS:
        byte = data[at]
        at += 1
        if byte < _MORE:
            number += byte << shift
            if number >> _LONG_BITS:
                break
            return (number >> 1) ^ -(number & 1), at
        number += byte - _MORE << shift
    raise Misfit("a number of more than 64 bits")


def read_int(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 32 bits."""
    number, at = read_long(data, at)
    if not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise Misfit("an int of more than 32 bits")
    return number, at


def read_block(data: bytes, at: int) -> tuple[int, int, int | None]:
    """The head of a block of items of an array or map: their number, the first one's position, and the block's end.

    A block with 0 items ends the array or map. The end is None unless the count is negative: only then does the block's
    size in bytes follow.
    """
    count, at = read_long(data, at)
    if count >= 0:
        return count, at, None
    size, at = read_long(data, at)
    return -count, at, at + size


def check_end(at: int, end: int) -> None:
    """Checks a block's announced end. Some readers skip by it, so with a wrong one they would see another record."""
    if end != at:
        raise Misfit("a block of items is not as long as it says")


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """A length, then that many bytes."""
    size, at = read_long(data, at)
    if size < 0:
        raise Misfit("a negative length")
    end = at + size
    if end > len(data):
        raise Misfit(TRUNCATED)
    return data[at:end], end


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """A length, then that many bytes of UTF-8."""
    size = data[at]
    if size < _MORE and not size & 1:  # inlines read_bytes, for speed: most values are short text
        at += 1
        end = at + (size >> 1)
        if end > len(data):
            raise Misfit(TRUNCATED)
        text = data[at:end]
    else:
        text, end = read_bytes(data, at)
    try:
        return text.decode(), end
    except UnicodeDecodeError:
        raise Misfit("not valid UTF-8") from None


def read_null(_data: bytes, at: int) -> tuple[None, int]:
    """No bytes."""
    return None, at


def read_boolean(data: bytes, at: int) -> tuple[bool, int]:
    """One byte."""
    byte = data[at]
    if byte > 1:
        # Some readers take it as true, others as false.
        raise Misfit("a boolean that is neither 0 nor 1")
    return byte == 1, at + 1


def _number(layout: str) -> Read:
    struct = Struct(layout)
    size, unpack = struct.size, struct.unpack_from

    def number(data: bytes, at: int) -> tuple[float, int]:
        end = at + size
        if end > len(data):
            raise Misfit(TRUNCATED)
        return unpack(data, at)[0], end

    return number


def fixed(schema: dict[str, Any]) -> Read:
    """A function that reads a value of a fixed type."""
    size = int(schema["size"])

    def read_fixed(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise Misfit(TRUNCATED)
        return data[at:end], end

    return read_fixed


def enum(schema: dict[str, Any]) -> Read:
    """A function that reads a symbol of an enum."""
    symbols = tuple(schema["symbols"])

    def read_enum(data: bytes, at: int) -> tuple[str, int]:
        index, at = read_long(data, at)
        if not 0 <= index < len(symbols):
            raise Misfit("no such enum symbol in the schema")
        return symbols[index], at

    return read_enum


PRIMITIVES: dict[str, Read] = {
    "null": read_null,
    "boolean": read_boolean,
    "int": read_int,
    "long": read_long,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": read_bytes,
    "string": read_string,
}
