"""Reads properties in Java's form, as `java.util.Properties` does. A test compares the two.

Our own, because of the libraries that were found one needs minutes for 64 KiB of continued lines, and all read a name
that is given twice without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BLANKS: Final = " \t\f"
_ENTRY: Final = re.compile(r"\A((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CHARACTERS: Final = {"t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Entry(NamedTuple):
    """A property, and the line that it starts in."""

    name: str
    value: str
    line: int


class NotProperties(ValueError):
    """A line has not Java's form. The message says why, without the line's text."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def entries(text: str) -> Iterator[Entry]:
    """Yields the properties in order.

    Raises:
        NotProperties: A line has not Java's form.

    Example:
        >>> list(entries("a = b"))
        [Entry(name='a', value='b', line=1)]
    """
    for line, content in _whole_lines(text):
        ((name, value),) = _ENTRY.findall(content)
        try:
            yield Entry(_unescaped(name), _unescaped(value), line)
        except ValueError:
            raise NotProperties(line, r"has a \u that is not followed by the four hex digits of a character") from None


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that hold something, joined where they are continued, with the number of the first."""
    parts: list[str] = []
    start = 0
    for number, natural in enumerate(_LINE_END.split(text), 1):
        part = natural.lstrip(_BLANKS)
        if not parts:
            if not part or part[0] in "#!":
                continue
            start = number
        is_continued = (len(part) - len(part.rstrip("\\"))) % 2 == 1
        if content := part[:-1] if is_continued else part:
            parts.append(content)
        if parts and not is_continued:
            yield start, "".join(parts)
            parts.clear()
    if parts:
        yield start, "".join(parts)


def _unescaped(text: str) -> str:
    """Raises ValueError if an escape has no four hex digits, or stands for a half of a character."""
    written = _ESCAPE.sub(_character, text)
    return written.encode("utf-16", "surrogatepass").decode("utf-16")


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if code == "u":
        raise ValueError
    return chr(int(code[1:], 16)) if len(code) > 1 else _CHARACTERS.get(code, code)
