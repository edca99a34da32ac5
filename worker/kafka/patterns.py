"""Topic patterns, read as whoever matches them reads them.

In the classic protocol librdkafka matches, by the C library's extended regular expressions (POSIX): `[[:digit:]]` is a
digit, and a topic matches if the expression is found in it. With `group.protocol=consumer` the brokers match, by RE2/J:
the expression must match the whole name. Python's `re` is neither.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, TypeAlias

from worker.kafka.properties import Properties, uses_kip_848

Matcher: TypeAlias = Callable[[str], bool]
"""Whether a topic's name matches."""

_REG_EXTENDED: Final = 1
_REGEX_BYTES: Final = 1_024  # more than any C library's regex_t
# A letter or digit behind a backslash, except those that the GNU C library knows.
_POSIX_UNKNOWN: Final = re.compile(r"(?:[^\\]|^)(?:\\\\)*(\\[^\W_wWsSbB])")
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\s",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
_CLASS: Final = re.compile(r"\[:(\w+):\]")
_PYTHON_ONLY: Final = re.compile(r"\(\?(?:[=!>(#]|<[=!]|P[=>])|\\[1-9Z]|[*+?}]\+")
# Parts of a POSIX expression, as far as they count for its size.
_PARTS: Final = re.compile(
    r"\\.|\[\^?\]?(?:\[[:.=].*?[:.=]\]|[^\]])*\]|(?P<opens>\()|(?P<closes>\))|\{(?P<least>\d+),?(?P<most>\d*)\}|(?P<repeats>[*+])|.",
    re.DOTALL,
)
_SIZE_MAX: Final = 2_000
_DEPTH_MAX: Final = 10


class PatternRefused(ValueError):
    """The pattern is none that its matcher understands. The message says why."""


def is_pattern(topic: str) -> bool:
    """Whether a name in `kafka.topics` is a pattern."""
    return topic.startswith("^")


@cache
def matcher(pattern: str, *, kip_848: bool) -> Matcher:
    """Reads a pattern as the brokers do (`kip_848`), or as librdkafka does.

    Raises:
        PatternRefused: See there.
    """
    _check_size(pattern)
    return _re2(pattern) if kip_848 else _posix(pattern)


def matchers(topics: Sequence[str], properties: Properties) -> dict[str, Matcher]:
    """Each of the patterns among `topics`, with its matcher. Errors as `matcher`."""
    kip_848 = uses_kip_848(properties)
    return {topic: matcher(topic, kip_848=kip_848) for topic in topics if is_pattern(topic)}


def _check_size(pattern: str) -> None:
    """Refuses what ends the process, or takes all its memory: C libraries recurse, and write repetitions out."""
    sizes, last = [0], 0  # of each open group, and of the part before
    for part in _PARTS.finditer(pattern):
        if part["opens"]:
            sizes.append(0)
            last = 0
        elif part["closes"] and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif part["least"] or part["repeats"]:
            times = 2 if part["repeats"] else max(int(part["least"][:6]) + 1, int(part["most"][:6] or 0))
            sizes[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            sizes[-1] += 1
        if len(sizes) - 1 > _DEPTH_MAX or sum(sizes) > _SIZE_MAX:
            raise PatternRefused(
                f"it has groups more than {_DEPTH_MAX} deep, or more than {_SIZE_MAX} parts with its repetitions "
                "written out; write a simpler one"
            )


def _posix(pattern: str) -> Matcher:
    unknown = _POSIX_UNKNOWN.search(pattern)
    if unknown is not None:
        sign = unknown[1]
        meant = {"\\d": "[0-9]", "\\D": "[^0-9]"}.get(sign, f"{sign[1]} alone")
        raise PatternRefused(f"{sign} has no meaning in POSIX expressions, by which librdkafka matches; write {meant}")
    library = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(_REGEX_BYTES)
    try:
        code = library.regcomp(compiled, pattern.encode(), _REG_EXTENDED)
    except UnicodeEncodeError:
        raise PatternRefused("it is not text") from None
    if code != 0:
        text = ctypes.create_string_buffer(200)
        library.regerror(code, compiled, text, ctypes.c_size_t(len(text)))
        raise PatternRefused(f"librdkafka matches by POSIX expressions, and this is none: {text.value.decode()}")
    # Never freed: there are as many as patterns in the settings, and they live as long as the process.
    return lambda topic: library.regexec(compiled, topic.encode(), ctypes.c_size_t(0), None, 0) == 0


def _re2(pattern: str) -> Matcher:
    """RE2's syntax is close to Python's. What only one of them knows is translated, or refused."""
    foreign = _PYTHON_ONLY.search(pattern)
    if foreign is not None:
        raise PatternRefused(f"the brokers match by RE2, which has no {foreign[0]}")
    translated = pattern.replace(r"\z", r"\Z")
    translated = _CLASS.sub(lambda found: _CLASSES.get(found[1], found[0]), translated)
    try:
        compiled = re.compile(translated)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternRefused(f"the brokers match by RE2, and this is no such expression: {error}") from None
    return lambda topic: compiled.fullmatch(topic) is not None
