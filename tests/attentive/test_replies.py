from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.attentive.message import Answer, Message, Unanswered
from worker.attentive.replies import reply_of
from worker.core import model as core
from worker.core.delivery.verdict import in_words
from worker.core.model import Failure, Reply

NOW_SECONDS = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def reply(status: int = 400, content: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = Message("POST", "https://api.example.com/v1", (), b'{"user": {"client_user_id": "Jane.Doe"}}')
    return reply_of(Answer(status, named, content), asked=asked, now_seconds=NOW_SECONDS, seconds=0.5)


def test_nothing_that_the_destination_wrote_is_shown() -> None:
    found = reply(400, b'{"message": "m4711", "requestId": "r4711"}')
    assert (found.message, found.request_id) == ("m4711", "r4711")
    letter = core.Answer(400, found.request_id, found.body)
    assert "4711" not in repr(found) + repr(letter)


def test_no_answer_keeps_its_kind_and_cause() -> None:
    came = reply_of(Unanswered(Failure.CONNECT, "no route"), now_seconds=NOW_SECONDS, seconds=0.5)
    assert came == Reply(None, Failure.CONNECT, seconds=0.5, cause="no route")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://login.example.com/u/+13115550001?email=me@example.com", ", which points to login.example.com/u/…"),
        ("http://me@example.com:8443/", ", which points to example.com:8443"),
        ("//other.example.com/V1/Sign-In.html#me", ", which points to other.example.com/v1/sign-in.html"),
        ("/login/+13115550001", ", which points to another path, /login/…"),
        ("/login/u-4711/me%40example.com/<b>", ", which points to another path, /login/…/…/…"),
        ("/" + "a/" * 50, ", which points to another path, " + "/a" * 8 + "/…"),
        ("/" + "a" * 50, ", which points to another path, /…"),
        ("/login/Jane/jane.doe", ", which points to another path, /login/…/…"),
        ("?email=me@example.com", ", which points to another path"),
        ("", ""),
        ("https://[bad", ""),
        ("https://a b/", ""),
        ("https://host:99999/", ""),
        ("mailto:me@example.com", ""),
    ],
)
def test_a_redirect_is_told_by_its_host_and_the_words_of_its_path(location: str, words: str) -> None:
    """Not by what may name somebody: what is no word, and what the request itself says."""
    assert in_words(reply(302, location=location)) == f"status 302{words}"
    assert in_words(reply(400, location=location)) == "status 400"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ""),
        (b"plain text", ""),
        (b'"quoted"', ""),
        (b"{", ""),
        (b'{"message": "Bad phone"}', "Bad phone"),
        (b'{"error": "privacy says no"}', "privacy says no"),
        (b'{"error": {"id": 7, "message": "coupons say no"}}', "coupons say no"),
        (b'{"errors": [{"message": "one"}, "two", {"detail": "three"}, 4]}', "one; two; three"),
        (b'{"errors": {"error": {"message": "deep"}}}', "deep"),
        (b'{"status": 404, "error": "Not Found", "message": "No static resource v1/x."}', "No static resource v1/x."),
        (b'{"message": "", "error": "second"}', "second"),
        (b'{"message": "two\\nlines \\u001b[31m\\ud800"}', "two lines  [31m"),
        (json.dumps({"message": "x" * 5000}).encode(), "x" * 1000),
        (b'{"a":' * 10_000, ""),
        (b'{"a":' + b"9" * 5000 + b"}", ""),
    ],
    ids=range(15),
)
def test_message_of_an_error_body(content: bytes, message: str) -> None:
    assert reply(content=content).message == message


@pytest.mark.parametrize(
    ("content", "header", "request_id"),
    [
        (b"", "", None),
        (b"", "h-1", "h-1"),
        (b'{"requestId": "c645e37d-6576697"}', "h-1", "c645e37d-6576697"),
        (b'{"error": {"id": 9007199254740993}}', "", "9007199254740993"),
        (b'{"requestId": null, "error": {"id": true}}', "h-1", "h-1"),
        (b'{"requestId": ["x"]}', "", None),
    ],
)
def test_request_id(content: bytes, header: str, request_id: str | None) -> None:
    assert reply(content=content, x_request_id=header).request_id == request_id


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("9" * 399, None),
        ("1e309", None),
        ("inf", None),
        ("nan", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Tue, 14 Nov 99999 22:13:00 GMT", None),
        ("Tue, 31 Feb 2023 22:13:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert reply(429, retry_after=value).retry_after_seconds == seconds


def test_retry_after_date_counts_from_the_destination_clock() -> None:
    """The worker's clock may be an hour off; the reply's own Date is not, against its own Retry-After."""
    late = reply(429, retry_after="Tue, 14 Nov 2023 23:13:30 GMT", date="Tue, 14 Nov 2023 23:13:20 GMT")
    assert late.retry_after_seconds == 10
    assert reply(429, retry_after="Tue, 14 Nov 2023 22:13:30 GMT", date="garbage").retry_after_seconds == 10


@pytest.mark.parametrize(
    ("value", "count"),
    [("150", 150), ("0", 0), ("-1", None), ("1.5", None), ("9" * 10, None), ("²", None), ("150, 150", None)],
)
def test_rate_headers(value: str, count: int | None) -> None:
    answer = reply(200, x_ratelimit_limit=value, x_ratelimit_remaining=value)
    assert (answer.rate_limit, answer.rate_remaining) == (count, count)


@pytest.mark.parametrize(
    ("status", "content_type", "content", "no_such_path"),
    [
        (404, "application/json", b'{"error": "Not Found", "message": "No static resource v1/x."}', True),
        (404, "application/json", b'{"message": "user not found"}', False),
        (404, "", b"", False),
        (400, "text/html", b"<html>", False),
        (400, "application/json", b'{"message": "No static resource v1/x."}', False),
    ],
)
def test_a_404_of_the_path_and_not_of_the_user(
    status: int,
    content_type: str,
    content: bytes,
    no_such_path: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert reply(status, content, content_type=content_type).no_such_path is no_such_path


@pytest.mark.parametrize(
    ("status", "content_type", "content", "web_page"),
    [
        (404, "text/html; charset=utf-8", b"", True),
        (404, "", b"  <!DOCTYPE html>", True),
        (403, "text/html", b"blocked", True),
        (200, "application/json", b"\xef\xbb\xbf\n<html><body>Sign in to the network", True),
        (200, "text/html", b"Ok", False),
        (200, "", b"", False),
        (400, "application/json", b'{"message": "<b> is no value"}', False),
        (404, "text/plain", b"404 page not found", False),
    ],
)
def test_a_web_page_is_not_the_apis(
    status: int,
    content_type: str,
    content: bytes,
    web_page: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert reply(status, content, content_type=content_type).web_page is web_page


@pytest.mark.parametrize(
    ("status", "content_type", "web_page"),
    [(200, "application/json", False), (400, "", False), (200, "text/html", True), (404, "text/html", True)],
)
def test_a_compressed_answer_is_judged_by_its_status_and_type(
    status: int,
    content_type: str,
    web_page: bool,  # noqa: FBT001 - a row of the table
) -> None:
    compressed = reply(status, b"\x1f\x8b\x08", content_type=content_type, content_encoding="gzip")
    assert compressed.web_page is web_page
    assert compressed.body == "3 bytes in a content encoding that was not asked for"


def test_body_is_text() -> None:
    assert reply(content=b"Zo\xc3\xab \xff").body == "Zoë \ufffd"


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "date", "x-ratelimit-limit", "content-type", "content-encoding", "x-request-id"]
        ),
        st.binary(max_size=40),
    ),
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["message", "error", "errors", "requestId", "id"]), inner)
        ),
    ).map(lambda document: json.dumps(document).encode()),
)
def test_no_reply_raises_or_gives_text_that_cannot_be_printed(
    status: int, headers: dict[str, bytes], content: bytes
) -> None:
    named = {name: value.decode("latin-1") for name, value in headers.items()}
    answer = reply_of(Answer(status, named, content), now_seconds=NOW_SECONDS, seconds=0)
    for text in (answer.message, answer.body, answer.request_id or ""):
        text.encode()
    assert all(ord(letter) >= ord(" ") for letter in answer.message + (answer.request_id or ""))
    assert answer.retry_after_seconds is None or answer.retry_after_seconds >= 0
