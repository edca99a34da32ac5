"""What a reply means for its call: the table of replies, as code."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus

from worker.core.model import Failure, Reply

_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)
_CLIENT_ERROR = range(400, 500)
# Client errors that are worth another try: time-out, too early, too many requests.
_RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_ISOLATED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_UNAUTHORIZED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_FAILURES = {
    Failure.CONNECT: "no connection",
    Failure.TIMEOUT: "no complete answer in time",
    Failure.BROKEN: "the connection broke",
    Failure.ABORTED: "cut short by the worker itself",
    Failure.NO_TOKEN: "no token",
}


class Verdict(Enum):
    """What a reply means, and so what to do."""

    DELIVERED = auto()
    REFUSED = auto()  # search for the bad attributes
    NOT_FOUND = auto()  # dead letter
    UNEXPECTED = auto()  # dead letter
    RETRY = auto()  # the destination failed
    THROTTLED = auto()  # the destination works, but wants fewer calls
    UNAUTHORIZED = auto()  # halt
    WRONG_URL = auto()  # halt
    ABORTED = auto()  # cut short by the worker itself: by a drain deadline, or because its partitions were dropped


def verdict_on(reply: Reply, *, ever_delivered: bool) -> Verdict:
    """The verdict on one reply.

    Args:
        reply: what came back.
        ever_delivered: whether any call of this process succeeded yet. Before that, a 404 more likely means a wrong URL
            than an unknown user.
    """
    status = reply.status
    if status is None:
        return _without_status(reply.failure)
    if status in _SUCCESS:
        return Verdict.DELIVERED
    if status in _REDIRECT:
        return Verdict.WRONG_URL
    if status in _CLIENT_ERROR:
        return _client_error(status, wrong_url=reply.no_such_path or not ever_delivered)
    return Verdict.RETRY


def _without_status(failure: Failure | None) -> Verdict:
    if failure is Failure.ABORTED:
        return Verdict.ABORTED
    if failure is Failure.NO_TOKEN:
        return Verdict.UNAUTHORIZED
    return Verdict.RETRY


def _client_error(status: int, *, wrong_url: bool) -> Verdict:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Verdict.THROTTLED
    if status in _RETRIED:
        return Verdict.RETRY
    if status in _ISOLATED:
        return Verdict.REFUSED
    if status in _UNAUTHORIZED:
        return Verdict.UNAUTHORIZED
    if status == HTTPStatus.NOT_FOUND:
        return Verdict.WRONG_URL if wrong_url else Verdict.NOT_FOUND
    return Verdict.UNEXPECTED


def in_words(reply: Reply) -> str:
    """A reply in a few words, without anything from its body."""
    if reply.failure is not None:
        words = _FAILURES[reply.failure]
        return f"{words}: {reply.cause}" if reply.cause else words
    return f"status {reply.status}"
