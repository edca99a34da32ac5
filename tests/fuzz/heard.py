"""Reads an answer as leniently as anybody may: what is not whole here, is not whole.

It shares no code with the worker's transport, and so no mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BODY_BYTES_ENOUGH = 64 * 1024
"""A body of this length counts, though more of it is to come."""

_LINE = re.compile(rb"\s*HTTP/\d\.\d +(\d{3})\b[^\n]*\n")
_BLANK = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"^([^\s:]+)[ \t]*:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,20})[^\n]*\n")
_DIGITS = re.compile(rb"\d{1,20}")
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Heard:
    """A whole answer."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def is_encoded(self) -> bool:
        """Whether its body cannot be read as it is."""
        return self.fields.get(b"content-encoding", b"") not in {b"", b"identity"}

    @property
    def is_page(self) -> bool:
        """Whether it is for a browser: by its body; by its type, if the body cannot be read or tells of a failure."""
        is_html = b"html" in self.fields.get(b"content-type", b"")
        is_markup = self.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and not self.is_encoded
        return is_markup or (is_html and (self.is_encoded or self.status not in range(200, 300)))

    @property
    def is_success(self) -> bool:
        """Whether it means that the call was applied. No web page does."""
        return self.status in range(200, 300) and not self.is_page


def heard(content: bytes, *, closed: bool) -> Heard | None:
    """The first final answer in these bytes, or None if it is not whole. `closed`: the connection ended behind them."""
    while (line := _LINE.match(content)) is not None:
        end = _BLANK.search(content, line.end() - 2)
        if end is None:
            return None
        status = int(line[1])
        head = _FOLD.sub(b" ", content[line.end() : end.start()])
        fields = {name.lower(): value.lower() for name, value in _FIELD.findall(head)}
        content = content[end.end() :]
        if status >= 200:
            body = _body(status, fields, content, closed=closed)
            return None if body is None else Heard(status, fields, body)
    return None


def _body(status: int, fields: dict[bytes, bytes], rest: bytes, *, closed: bool) -> bytes | None:
    if status in _NO_BODY:
        return b""
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        return _joined(rest)
    length = fields.get(b"content-length")
    if length is None:
        return rest if closed or len(rest) >= BODY_BYTES_ENOUGH else None
    digits = _DIGITS.match(length)
    wanted = min(int(digits[0]), BODY_BYTES_ENOUGH) if digits else BODY_BYTES_ENOUGH
    return rest[:wanted] if len(rest) >= wanted else None


def _joined(rest: bytes) -> bytes | None:
    """The chunks as one; None if the last one is missing."""
    body = b""
    while (size := _CHUNK.match(rest)) is not None:
        wanted = int(size[1], 16)
        if wanted == 0:
            return body if _BLANK.search(rest, size.end() - 2) else None
        part = rest[size.end() : size.end() + wanted]
        body += part
        if len(body) >= BODY_BYTES_ENOUGH:
            return body
        rest = rest[size.end() + wanted :].lstrip(b"\r\n")
        if len(part) < wanted:
            return None
    return None
