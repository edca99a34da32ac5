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
def test_before_a_first_success_only_a_404_means_something_else(status: int) -> None:
    expected = Verdict.WRONG_URL if status == 404 else AFTER_A_SUCCESS[status]
    assert verdict_on(Reply(status), ever_delivered=False) is expected


def test_a_404_that_says_no_such_path_is_a_wrong_url_at_any_time() -> None:
    assert verdict_on(Reply(404, no_such_path=True), ever_delivered=True) is Verdict.WRONG_URL


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 999])
def test_a_status_that_http_does_not_know_is_tried_again(status: int) -> None:
    assert verdict_on(Reply(status), ever_delivered=True) is Verdict.RETRY


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_its_verdict(failure: Failure) -> None:
    assert verdict_on(Reply(None, failure), ever_delivered=False) is WITHOUT_STATUS[failure]
