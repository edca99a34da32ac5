"""Makes the core's reply of whatever came back for a request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import urlsplit

from worker.attentive.message import Answer, Message, Unanswered
from worker.core.model import Reply

MESSAGE_CHARACTERS_MAX = 1_000
REQUEST_ID_CHARACTERS_MAX = 200
_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)
_SEGMENTS_MAX = 8
_SEGMENT = re.compile(r"[a-z][a-z._-]{0,31}|v[0-9]{1,2}", re.ASCII)
_WORD = re.compile(r"[a-z]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,10}", re.ASCII)

_Headers: TypeAlias = Mapping[str, str]  # names in lower case

_SECONDS = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,30})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def reply_of(came: Answer | Unanswered, *, asked: Message | None = None, now_seconds: float, seconds: float) -> Reply:
    """The reply. Never raises, whatever the destination sent.

    Args:
        came: not checked yet.
        asked: the request. Nothing in it that is private is told again.
        now_seconds: the wall clock. A Retry-After that is a date counts from it, if the answer has no Date header.
        seconds: how long the request took.
    """
    if isinstance(came, Unanswered):
        return Reply(None, came.failure, seconds=seconds, cause=came.cause)
    status, headers = came.status, came.headers
    body = _body(headers, came.body)
    document = _document(body)
    message = "" if status in _SUCCESS else printable(next(_messages(document), ""), MESSAGE_CHARACTERS_MAX)
    return Reply(
        status=status,
        retry_after_seconds=_retry_after(headers, now_seconds),
        rate_limit=_count(headers.get("x-ratelimit-limit")),
        rate_remaining=_count(headers.get("x-ratelimit-remaining")),
        request_id=_request_id(document, headers),
        message=message,
        body=body,
        # So Attentive says it, in JSON (Spring's words).
        no_such_path=status == HTTPStatus.NOT_FOUND and message.startswith("No static resource"),
        web_page=_is_web_page(status, headers, body),
        seconds=seconds,
        cause=_points_to(headers, b"" if asked is None else asked.private) if status in _REDIRECT else "",
    )


def _points_to(headers: _Headers, sent: bytes) -> str:
    """Where a redirect points: its host and the words of its path. Empty if it does not say."""
    location = headers.get("location", "").strip()
    try:
        parts = urlsplit(location)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    path = _words_of(parts.path, sent)
    if _HOST.fullmatch(host) and parts.scheme in {"http", "https", ""}:
        return f"which points to {host}" + (f":{port}" if port else "") + path
    if not location or parts.scheme or parts.netloc:
        return ""
    return f"which points to another path, {path}" if path else "which points to another path"


def _words_of(path: str, sent: bytes) -> str:
    """A path without whatever may name somebody: what is no plain word, or has a word of the request."""
    segments = [segment.lower() for segment in path.split("/") if segment]
    asked = set(_WORD.findall(sent.decode("utf-8", "replace").lower()))
    words = [
        each if _SEGMENT.fullmatch(each) and asked.isdisjoint(_WORD.findall(each)) else "…"
        for each in segments[:_SEGMENTS_MAX]
    ]
    return "".join(f"/{word}" for word in words) + ("/…" if len(segments) > _SEGMENTS_MAX else "")


def _body(headers: _Headers, content: bytes) -> str:
    if _is_encoded(headers):
        # request.py asks for no encoding. Don't unpack what comes in one all the same: it could unpack into gigabytes.
        return f"{len(content)} bytes in a content encoding that was not asked for"
    return content.decode("utf-8", "replace")


def _is_encoded(headers: _Headers) -> bool:
    return headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _document(body: str) -> object:
    if not body.lstrip().startswith("{"):
        return None
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):  # not JSON, or cut short, or a number of 5,000 digits; or nested too deep
        return None
    return document


def _messages(document: object, depth: int = 3) -> Iterator[str]:
    """The texts for people in an error body, best first. Knows the shapes of Attentive and of usual proxies."""
    if isinstance(document, str) and document.strip():
        yield document
    elif isinstance(document, list) and depth:
        texts = [text for item in document[:10] for text in list(_messages(item, depth - 1))[:1]]
        if texts:
            yield "; ".join(texts)
    elif isinstance(document, Mapping) and depth:
        # `errors` before `error`: Spring's `error` only names the status.
        for name in ("message", "errors", "error", "detail"):
            yield from _messages(document.get(name), depth - 1)


def _request_id(document: object, headers: _Headers) -> str | None:
    candidates: list[object] = []
    if isinstance(document, Mapping):
        candidates.append(document.get("requestId"))
        error = document.get("error")
        if isinstance(error, Mapping):
            candidates += [error.get("requestId"), error.get("id")]
    candidates.append(headers.get("x-request-id"))
    for candidate in candidates:
        if isinstance(candidate, str | int) and not isinstance(candidate, bool):
            text = printable(str(candidate), REQUEST_ID_CHARACTERS_MAX)
            if text:
                return text
    return None


def _is_web_page(status: int, headers: _Headers, body: str) -> bool:
    """Whether the answer is for a browser: a web site, a load balancer, a firewall or a proxy sent it, not the API.

    Of a success only the body tells, if it can be read: some frameworks call any text `text/html`.
    """
    is_markup = body.lstrip("\ufeff \t\r\n").startswith("<")
    is_html = "html" in headers.get("content-type", "").lower()
    return is_markup or (is_html and (status not in _SUCCESS or _is_encoded(headers)))


def _retry_after(headers: _Headers, now_seconds: float) -> float | None:
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    until = http_date(value)
    if until is None:
        return None
    sent = http_date(headers.get("date", ""))  # the destination's own clock: ours may be wrong
    return max(0.0, until - (now_seconds if sent is None else sent))


def http_date(value: str) -> float | None:
    """The Unix time of a header such as Date. None if it is none."""
    try:
        moment = parsedate_to_datetime(value)
        # An HTTP date is in GMT, even if it does not say so.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and _COUNT.fullmatch(value.strip()) else None


def printable(text: str, characters_max: int) -> str:
    """One line that is safe on a terminal and in UTF-8."""
    return _UNPRINTABLE.sub(" ", text[: characters_max * 2]).strip()[:characters_max]
