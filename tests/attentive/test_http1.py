"""Requests as bytes, and plain answers beside h11's judgement of the same bytes."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.attentive.connection import Received
from worker.attentive.http1 import Plain, plain_answer, reader_of, written

BODY_MAX = 1_000
HOST = [(b"Host", b"api.test")]

_LINES = st.sampled_from(
    [
        b"Content-Length: 2",
        b"content-length:2",
        b"Content-Length: 02",
        b"Content-Length: +2",
        b"Content-Length: 2, 2",
        b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Upgrade: h2c",
        b"X-A: 1",
        b"x-a:  spaced  ",
        b"X-A: \xe9",
        b"X-A: tab\tinside",
        b"X A: 1",
        b" folded",
        b"X-Empty:",
        b"no colon",
        b": no name",
        b"X-A: nul\0",
        b"X-A: bare\rreturn",
    ]
)
_STATUS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 429 Slow down",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 600 High",
        b"ICY 200 OK",
    ]
)
_ANSWERS = st.builds(
    lambda status, lines, body: b"\r\n".join([status, *lines, b"", body]),
    _STATUS,
    st.lists(_LINES, max_size=4),
    st.sampled_from([b"", b"{}", b"{", b"{}{}", b"2\r\n{}\r\n0\r\n\r\n", b"x" * (BODY_MAX + 1)]),
)


def by_h11(data: bytes) -> Plain | None:
    """What h11 makes of the same bytes: a whole answer on a connection that may go on, or None."""
    reader = reader_of(b"POST")
    reader.receive_data(data)
    received = Received(BODY_MAX)
    body = b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Response):
                received.status, received.headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
    if reader.trailing_data[0] or reader.our_state is not h11.DONE or received.is_ambiguous:
        return None
    return Plain(received.status, received.headers, body)


@given(_ANSWERS)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
@example(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}")
def test_a_plain_answer_is_what_h11_reads(data: bytes) -> None:
    plain = plain_answer(data, BODY_MAX)
    if plain is not None:
        judged = by_h11(data)
        assert judged is not None
        assert (plain.status, list(plain.headers), plain.body) == (judged.status, list(judged.headers), judged.body)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 \r\nserver: x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_usual_answers_are_plain(data: bytes) -> None:
    assert plain_answer(data, BODY_MAX) is not None


@pytest.mark.parametrize("cut", [1, 10, 30, 40])
def test_a_cut_answer_is_not_plain(cut: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert plain_answer(data[:-cut], BODY_MAX) is None


def test_a_request_has_a_length_where_it_has_a_body() -> None:
    assert written(b"GET", b"/me", HOST, b"") == b"GET /me HTTP/1.1\r\nHost: api.test\r\n\r\n"
    assert written(b"POST", b"/x", HOST, b"{}") == b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/a b", HOST),
        (b"/a\r\nX-Evil: 1", HOST),
        (b"/", [*HOST, (b"X-A", b"1\r\nX-Evil: 1")]),
        (b"/", [*HOST, (b"X A", b"1")]),
        (b"/", []),
    ],
)
def test_what_is_no_request_is_not_written(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(h11.LocalProtocolError):
        written(b"POST", target, headers, b"{}")
