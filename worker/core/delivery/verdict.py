"""What a reply means for its call: the table of replies, as code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from http import HTTPStatus
from typing import Final

from worker.core.model import Failure, Reply

_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)
_CLIENT_ERROR = range(400, 500)
# The API has the path and takes POST: whoever says otherwise is not the API.
_NOT_THE_API = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
# They speak of path, method or protocol. Before a first success that is more likely than anything about the user.
_OF_THE_WAY = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.GONE,
        HTTPStatus.LENGTH_REQUIRED,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.EXPECTATION_FAILED,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.UPGRADE_REQUIRED,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
_FAILURES = {
    Failure.CONNECT: "no connection",
    Failure.TIMEOUT: "no complete answer in time",
    Failure.BROKEN: "the connection broke",
    Failure.ABORTED: "cut short by the worker itself",
    Failure.NO_TOKEN: "no token",
}


class Verdict(IntEnum):  # its hash is an int's: that of an `Enum` is a call in Python
    """What a reply means, and so what to do."""

    DELIVERED = auto()
    REFUSED = auto()  # search for the bad attributes
    NOT_FOUND = auto()  # asked again; if it is the user's: dead letter
    UNEXPECTED = auto()  # the same
    RETRY = auto()  # the destination failed
    THROTTLED = auto()  # the destination works, and wants fewer calls
    UNAUTHORIZED = auto()  # halt; if it is the user's: search for the bad attributes
    WRONG_URL = auto()  # the same: this answer cannot come from the API
    ABORTED = auto()  # cut short by the worker itself, because its partitions went away


@dataclass(frozen=True, slots=True)
class LatestError:
    """The latest call that did not deliver: when it ended, in milliseconds since the epoch, and what came, in words."""

    at_ms: int
    words: str


# These mean the same, whether the API sends them or somebody before it.
_WHOEVER_SAYS_SO: Final[Mapping[int, Verdict]] = {
    HTTPStatus.UNAUTHORIZED: Verdict.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Verdict.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT: Verdict.RETRY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Verdict.REFUSED,  # a smaller call may pass
    HTTPStatus.TOO_EARLY: Verdict.RETRY,
    HTTPStatus.TOO_MANY_REQUESTS: Verdict.THROTTLED,
}
_OF_THE_API: Final[Mapping[int, Verdict]] = {
    HTTPStatus.BAD_REQUEST: Verdict.REFUSED,
    HTTPStatus.NOT_FOUND: Verdict.NOT_FOUND,
}


def verdict_on(reply: Reply, *, ever_delivered: bool) -> Verdict:
    """The verdict on one reply.

    Args:
        reply: what came back.
        ever_delivered: whether a call of this process ever succeeded. Before that a 404, and what else speaks of path,
            method or protocol, means a wrong URL rather than an unknown user.
    """
    status = reply.status
    if status is None:
        return _without_status(reply.failure)
    if status in _SUCCESS:
        return Verdict.WRONG_URL if reply.web_page else Verdict.DELIVERED  # a portal, or a web site at that URL
    if status in _REDIRECT or status in _NOT_THE_API:
        return Verdict.WRONG_URL
    if status in _CLIENT_ERROR:
        return _client_error(status, reply, ever_delivered=ever_delivered)
    return Verdict.RETRY


def _without_status(failure: Failure | None) -> Verdict:
    if failure is Failure.ABORTED:
        return Verdict.ABORTED
    if failure is Failure.NO_TOKEN:
        return Verdict.UNAUTHORIZED
    return Verdict.RETRY


def _client_error(status: int, reply: Reply, *, ever_delivered: bool) -> Verdict:
    if status in _WHOEVER_SAYS_SO:
        return _WHOEVER_SAYS_SO[status]
    if reply.web_page or reply.no_such_path or (status in _OF_THE_WAY and not ever_delivered):
        return Verdict.WRONG_URL
    return _OF_THE_API.get(status, Verdict.UNEXPECTED)


def in_words(reply: Reply) -> str:
    """A reply in a few words, without anything from its body."""
    if reply.failure is not None:
        words = _FAILURES[reply.failure]
        return f"{words}: {reply.cause}" if reply.cause else words
    page = ", a web page, which the API never sends" if reply.web_page else ""
    cause = f", {reply.cause}" if reply.cause else ""
    return f"status {reply.status}{page}{cause}"
