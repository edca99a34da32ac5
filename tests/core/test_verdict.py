"""The verdict on every reply: the whole table of statuses and failures."""

from __future__ import annotations

import pytest

from worker.core.delivery.verdict import Verdict, verdict_on
from worker.core.model import Failure, Reply

AFTER_A_SUCCESS = {
    **dict.fromkeys(range(200, 300), Verdict.DELIVERED),
    **dict.fromkeys(range(300, 400), Verdict.WRONG_URL),
    **dict.fromkeys(range(400, 500), Verdict.UNEXPECTED),
    **dict.fromkeys(range(500, 600), Verdict.RETRY),
    400: Verdict.REFUSED,
    413: Verdict.REFUSED,
    401: Verdict.UNAUTHORIZED,
    403: Verdict.UNAUTHORIZED,
    404: Verdict.NOT_FOUND,
    405: Verdict.WRONG_URL,
    501: Verdict.WRONG_URL,
    408: Verdict.RETRY,
    425: Verdict.RETRY,
    429: Verdict.THROTTLED,
}
WITHOUT_STATUS = {
    Failure.CONNECT: Verdict.RETRY,
    Failure.TIMEOUT: Verdict.RETRY,
    Failure.BROKEN: Verdict.RETRY,
    Failure.ABORTED: Verdict.ABORTED,
    Failure.NO_TOKEN: Verdict.UNAUTHORIZED,
}


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_has_its_verdict(status: int) -> None:
    assert verdict_on(Reply(status), ever_delivered=True) is AFTER_A_SUCCESS[status]


@pytest.mark.parametrize("status", range(200, 600))
def test_before_a_first_success_what_speaks_of_path_method_or_protocol_means_a_wrong_url(status: int) -> None:
    of_the_way = {404, 406, 407, 410, 411, 414, 415, 417, 421, 426, 431}
    expected = Verdict.WRONG_URL if status in of_the_way else AFTER_A_SUCCESS[status]
    assert verdict_on(Reply(status), ever_delivered=False) is expected


def test_a_404_that_says_no_such_path_is_a_wrong_url_at_any_time() -> None:
    assert verdict_on(Reply(404, no_such_path=True), ever_delivered=True) is Verdict.WRONG_URL


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.WRONG_URL),
        (400, Verdict.WRONG_URL),
        (404, Verdict.WRONG_URL),
        (409, Verdict.WRONG_URL),
        (403, Verdict.UNAUTHORIZED),
        (413, Verdict.REFUSED),
        (429, Verdict.THROTTLED),
        (502, Verdict.RETRY),
    ],
)
def test_a_web_page_cannot_come_from_the_api(status: int, verdict: Verdict) -> None:
    """Where the status means the same whoever sends it, the page changes nothing."""
    assert verdict_on(Reply(status, web_page=True), ever_delivered=True) is verdict


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 999])
def test_a_status_that_http_does_not_know_is_tried_again(status: int) -> None:
    assert verdict_on(Reply(status), ever_delivered=True) is Verdict.RETRY


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_its_verdict(failure: Failure) -> None:
    assert verdict_on(Reply(None, failure), ever_delivered=False) is WITHOUT_STATUS[failure]
