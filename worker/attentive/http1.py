"""HTTP/1.1 as bytes: how a request is written, and the plainest kind of answer.

h11 writes each head and judges each answer that is not plain. A head is the same for thousands of calls, so it is made
once. A plain answer is one whose head and body came together, with nothing in its head that changes how it is read:

    HTTP/1.1 200 OK
    Content-Length: 2

    {}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import h11

RawHeaders = Sequence[tuple[bytes, bytes]]

_HEADS_KEPT: Final = 16
_HEAD_BYTES_MAX: Final = 16 * 1024  # h11 bounds a head, too
_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\x20-\x7e]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x20-\x7e]*\r\n)*)\r\n"
)
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_WITHOUT_BODY: Final = frozenset({b"204", b"304"})
_CHANGES_READING: Final = frozenset({b"transfer-encoding", b"connection", b"upgrade"})


class Plain(NamedTuple):
    """A whole answer. Header names are in lower case."""

    status: int
    headers: RawHeaders
    body: bytes


def written(method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> bytes:
    """A request. `headers` has Host, but no Content-Length: it is added where there is a body.

    Raises:
        h11.LocalProtocolError: it would not be HTTP/1.1.
    """
    head = _head(method, target, tuple(headers))
    return b"%b%b%b" % (head, b"Content-Length: %d\r\n\r\n" % len(body) if body else b"\r\n", body)


@lru_cache(_HEADS_KEPT)
def _head(method: bytes, target: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """A head without its last line, which is empty."""
    content = h11.Connection(h11.CLIENT).send(h11.Request(method=method, target=target, headers=list(headers)))
    return content[:-2]


def reader_of(method: bytes) -> h11.Connection:
    """What reads the answer to a request of this method."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"x")]))
    reader.send(h11.EndOfMessage())
    return reader


def plain_answer(data: bytes, body_bytes_max: int) -> Plain | None:
    """The answer, if this is a whole plain one and nothing else. None otherwise: h11 may know better."""
    head = _PLAIN.match(data, 0, _HEAD_BYTES_MAX)
    if head is None or head[1] in _WITHOUT_BODY:
        return None
    headers: list[tuple[bytes, bytes]] = []
    length = None
    for line in head[2].split(b"\r\n")[:-1]:
        raw_name, _, value = line.partition(b":")
        name, value = raw_name.lower(), value.strip(b" ")
        if name in _CHANGES_READING:
            return None
        if name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        headers.append((name, value))
    body = data[head.end() :]
    if length != len(body) or length > body_bytes_max:
        return None
    return Plain(int(head[1]), headers, body)
