"""Makes answers of the destination, as bytes: of the API's shape, of others in between, and with faults in them."""

from __future__ import annotations

import contextlib
import json
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from tests.attentive.scripted import Connection
from tests.fuzz import schemas

CANARY = "hunter2"
"""Part of what the other side writes. No text of ours may repeat it."""

_STATUSES = (200, 200, 200, 200, 201, 202, 204, 206, 226, 299, 301, 302, 304, 307, 400, 400, 400, 401, 403, 404, 404,
    405, 407, 408, 409, 410, 413, 421, 422, 423, 425, 429, 429, 431, 451, 499, 500, 501, 502, 503, 503, 504, 520, 599,
    600, 999)  # fmt: skip
_ODD_LINES = (b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK",
    b"HTTP/0.9 200 OK", b"HTTP/1.10 200 OK", b"http/1.1 200 ok", b"ICY 200 OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1 000 X",
    b"\r\nHTTP/1.1 200 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"HTTP/1.1 200 \xff\x00", b"HTTP/1.1 101 Switching",
    b"200 OK", b"")  # fmt: skip
_REASONS = (b"OK", b"", b" ", CANARY.encode(), "größe".encode(), b"\xff", b"x" * 3_000)
_TIMES = ("0", "1", "7", "-1", "-0", "0.5", "1e9", "9" * 400, "1" * 4_000, "NaN", "inf", "", " 3 ", "3, 3", CANARY, "٣",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Mon, 32 Foo 2024 25:61:61 +9999", "Mon, 01",
    "1 Jan 99999999999 00:00:00", "0 0 0 0:0:0 -99999999999")  # fmt: skip
_COUNTS = ("0", "1", "150", "-1", "150, 150;w=1", "1e3", "9" * 4_000, "", CANARY, "٣", "1_000", " 20 ", "0.5")
_TYPES = ("application/json", "application/problem+json", "text/html", "TEXT/HTML; charset=ÿ", "text/plain", "",
    "application/json; charset=utf-16", "application/json; charset=" + CANARY, "image/png", ";;;=")  # fmt: skip
_ENCODINGS = ("identity", "gzip", "br", "IDENTITY ", "gzip, gzip", "", CANARY)
_TEXTS_OF_A_HEAD = (CANARY, "", "x" * 900, "größe", "https://127.0.0.1:9/" + CANARY, "\\x1b[31m")
_ERROR = {
    "message": CANARY, "requestId": CANARY, "error": {"requestId": CANARY, "id": 7, "message": CANARY},
    "errors": [{"field": "properties.tier", "message": CANARY}], "detail": CANARY, "timestamp": 1_700_000_000_000,
}  # fmt: skip
_FIELDS = (
    ("Retry-After", _TIMES), ("retry-after", _TIMES), ("Date", _TIMES), ("X-RateLimit-Limit", _COUNTS),
    ("x-ratelimit-remaining", _COUNTS), ("Content-Type", _TYPES), ("Content-Encoding", _ENCODINGS),
    ("X-Request-Id", _TEXTS_OF_A_HEAD), ("Location", _TEXTS_OF_A_HEAD), ("Set-Cookie", _TEXTS_OF_A_HEAD),
    ("Connection", ("keep-alive", "close", "Upgrade", CANARY)), ("WWW-Authenticate", _TEXTS_OF_A_HEAD),
)  # fmt: skip
_ODD_FIELDS = (
    b"Content-Length: 2", b"Content-Length: 3, 3", b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: -1",
    b"Content-Length: 0x2", b"Content-Length: " + b"9" * 40, b"Content-Length: ", b"Content-Length: 1_0",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked", b"No colon", b"Space : before", b": no name", b" folded: line", b"\tfolded",
    b"X: \0", b"X: a\rb", b"X: " + b"x" * 300_000, b"\r\n".join(b"X-%d: 1" % number for number in range(3_000)),
    b"Upgrade: websocket\r\nConnection: upgrade", b"Connection: close, keep-alive", b"Trailer: Retry-After",
)  # fmt: skip
_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\nRetry-After: 9\r\n\r\n",
)  # fmt: skip
_WEDGES = (b"\r\n", b"\n", b"\r\n\r\n", b"\0", b":", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 20_000)
_BODILESS = frozenset({204, 304})
_SMALL = 8_000  # bytes; what arrives at once, also inside TLS
_EVERY_SECONDS = 0.02
_DRIPPED = 12  # bytes; too few for an answer, which would pass for that to the next request
_BODIES: tuple[bytes, ...] = (
    b"", b"{", b"{}", b"null", b"<!doctype html><title>" + CANARY.encode(), b"\xef\xbb\xbf <html>", b"\xff\xfe<\0",
    b"[" * 50_000, b'{"message":' * 30_000, b'{"message": ' + b"9" * 4_000 + b"}", b"\0" * 100, b"\x1f\x8b\x08" * 20,
    '{"message": "größe"}'.encode("utf-16"), b'{"message": "\xff"}', b'{"message": NaN}', b"{" + b" " * 70_000 + b"}",
    b"x" * 65_535, b"x" * 65_536, b"x" * 400_000, b'{"a":' + b'{"a":' * 900 + b"1" + b"}" * 901,
)  # fmt: skip


class End(Enum):
    """What the server does after its answer."""

    KEEP = auto()  # waits for the next request
    CLOSE = auto()
    BREAK = auto()  # by a reset; inside TLS without a word that this is the end
    HOLD = auto()  # says nothing more
    DRIP = auto()  # sends the last bytes one by one, and then says nothing more


@dataclass(frozen=True)
class Sent:
    """An answer. `status`: where it is sound, what it says; None if it has faults."""

    content: bytes
    end: End
    status: int | None = None


OK = Sent(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", End.KEEP, 200)


def serve(connection: Connection, sent: Sent) -> bool:
    """Sends an answer. Whether the connection goes on."""
    if sent.end is End.DRIP:
        connection.send(sent.content[:-_DRIPPED])
        connection.drip(sent.content[-_DRIPPED:], _EVERY_SECONDS)
    else:
        connection.send(sent.content)
    if sent.end in {End.DRIP, End.HOLD}:
        connection.hold()
    elif sent.end is End.CLOSE and isinstance(connection.socket, ssl.SSLSocket):
        with contextlib.suppress(ValueError):  # TLS has ended already
            connection.socket.unwrap()
    elif sent.end is End.BREAK and not isinstance(connection.socket, ssl.SSLSocket):
        connection.reset()
    return sent.end is End.KEEP


def answer(rng: random.Random, *, patient: bool) -> Sent:
    """A random answer. If the client is `patient`, no connection is held without a word."""
    sent = _sound(rng)
    if rng.random() < 0.5:
        return sent
    content = sent.content
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(_FAULTS)(content, rng)
    return Sent(content, rng.choice((End.CLOSE, End.CLOSE, End.BREAK) if patient else (End.HOLD, End.DRIP, End.CLOSE)))


def _sound(rng: random.Random) -> Sent:
    status = rng.choice(_STATUSES)
    body = b"" if status in _BODILESS else _body(rng)
    fields = [(name, rng.choice(values)) for name, values in rng.sample(_FIELDS, rng.randint(0, 3))]
    end = rng.choice((End.KEEP, End.KEEP, End.CLOSE))
    framing = rng.random()
    if framing < 0.2 and status not in _BODILESS:
        fields.append(("Transfer-Encoding", rng.choice(("chunked", "Chunked"))))
        body = b"".join(b"%x%s\r\n%s\r\n" % (len(part), rng.choice((b"", b";a=b")), part) for part in _parts(body, rng))
        body += b"0\r\n" + rng.choice((b"", b"Retry-After: 9\r\n")) + b"\r\n"
    elif framing < 0.3 and status not in _BODILESS:
        end = End.CLOSE
    else:
        fields.append(("Content-Length", str(len(body))))
    rng.shuffle(fields)
    head = b"HTTP/1.%d %d %s\r\n" % (rng.random() < 0.9, status, rng.choice(_REASONS))
    head += b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
    interim = b"".join(rng.choice(_INTERIM) for _ in range(rng.choice((1, 2, 30)) if rng.random() < 0.1 else 0))
    return Sent(interim + head + b"\r\n" + body, end, status)


def _body(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return rng.choice(_BODIES)
    document = _ERROR if rng.random() < 0.3 else schemas.spoilt(_ERROR, rng)
    return json.dumps(document).encode()


def _parts(body: bytes, rng: random.Random) -> Iterator[bytes]:
    while body:
        size = max(rng.choice((1, 7, 1_000, 100_000)), len(body) // 20)
        yield body[:size]
        body = body[size:]


def _put(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice((rng.randbytes(rng.randrange(1, 9)), *_WEDGES)) + content[at:]


def _drop(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.randrange(1, 9) :]


def _flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + bytes(byte ^ 1 << rng.randrange(8) for byte in content[at : at + 1]) + content[at + 1 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _cut_a_little(content: bytes, rng: random.Random) -> bytes:
    return content[: -rng.randrange(1, 9)]


def _double(content: bytes, rng: random.Random) -> bytes:
    return content + rng.choice((content, OK.content, b"x", b"\r\n")) if len(content) < _SMALL else content


def _other_line(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(_ODD_LINES) + content[content.find(b"\r\n") :]


def _other_fields(content: bytes, rng: random.Random) -> bytes:
    line, _, rest = content.partition(b"\r\n")
    return line + b"\r\n" + b"".join(rng.choice(_ODD_FIELDS) + b"\r\n" for _ in range(rng.randint(1, 3))) + rest


def _bare(content: bytes, _: random.Random) -> bytes:
    return content.replace(b"\r\n", b"\n")


_FAULTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _put, _drop, _flip, _cut, _cut_a_little, _double, _other_line, _other_fields, _bare
)  # fmt: skip
