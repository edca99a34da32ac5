"""Tokens, paths, methods and the rate limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from tests.sandbox.rig import PLAIN, Rig
from worker.sandbox.service import Settings


@pytest.mark.parametrize("authorization", [None, "", "token", "Bearer", "Bearer other", "Basic token"])
def test_without_a_valid_token_the_answer_is_an_empty_401(rig: Rig, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = httpx.get(f"{rig.sandbox.url}/me", headers=headers)
    assert (response.status_code, response.content) == (401, b"")
    assert set(response.headers) == {"date", "content-length"}


def test_several_tokens_may_be_valid_and_may_be_changed_while_it_runs(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, tokens=("token", "second")))

    def status(token: str) -> int:
        return int(rig.client.get("/me", headers={"Authorization": f"Bearer {token}"}).status_code)

    assert [status(token) for token in ("token", "second", "third")] == [200, 200, 401]
    assert rig.control("POST", "tokens", ["third"]).json() == {"tokens": 1}
    assert [status(token) for token in ("token", "second", "third")] == [401, 401, 200]
    rig.sandbox.set_tokens([])
    assert status("third") == 401
    assert rig.control("POST", "tokens", {"token": "x"}).status_code == 400


def test_answers_do_not_wait_for_the_clients_acknowledgement(rig: Rig) -> None:
    """If head and body are sent apart, the body waits for the client's delayed acknowledgement, 40 ms each time."""
    assert statistics.median(rig.client.get("/me").elapsed.total_seconds() for _ in range(20)) < 0.03


def test_me_tells_whose_token_it_is(rig: Rig) -> None:
    fields = {"applicationName", "attentiveDomainName", "companyName", "contactEmail", "companyId"}
    assert set(rig.client.get("/me").json()) == fields


@pytest.mark.parametrize("path", ["/v1/attributes/custom/", "/v1/attributes", "/attributes/custom", "/v2/me", "/"])
def test_an_unknown_path_is_the_frameworks_404_with_or_without_a_token(rig: Rig, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = rig.client.post(rig.sandbox.origin + path, headers=headers, json={})
        assert response.status_code == 404
        document = response.json()
        assert document["message"] == f"No static resource {path[1:]}."
        assert set(document) == {"timestamp", "path", "status", "error", "requestId", "message"}


def test_a_wrong_method_is_405(rig: Rig) -> None:
    response = rig.client.put("/attributes/custom", json={})
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


def test_every_answer_to_a_token_tells_the_limit_and_what_remains(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, limit=10_000))
    for response in (rig.set({"a": 1}), rig.set({"a": None}), rig.client.get("/me"), rig.read()):
        assert response.headers["x-ratelimit-limit"] == "10000"
        assert 0 < int(response.headers["x-ratelimit-remaining"]) < 10_000


def test_over_the_limit_is_429_until_the_next_second_and_changes_nothing(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, limit=3))
    deadline = time.monotonic() + 10
    passed = refused = 0
    while not (passed > 3 and refused):
        assert time.monotonic() < deadline
        response = rig.set({"count": passed})
        assert response.headers["x-ratelimit-limit"] == "3"
        if response.status_code == 200:
            passed += 1
        else:
            assert response.status_code == 429
            assert response.json()["error"]["message"] == "Too many requests"
            assert response.headers["x-ratelimit-remaining"] == "0"
            assert "retry-after" not in response.headers
            refused += 1
    stats = rig.sandbox.stats()
    assert (stats["upserts"], stats["throttled"]) == (passed, refused)
    for _, requests, throttled in stats["per_second"]:
        assert requests - throttled <= 3


def test_each_token_and_endpoint_has_its_own_limit(serve: Callable[[Settings], Rig]) -> None:
    """With a limit of 1, tries until four requests fall into one second: all pass only if each has its own count."""
    rig = serve(replace(PLAIN, limit=1, tokens=("token", "second")))
    deadline = time.monotonic() + 10
    while True:
        assert time.monotonic() < deadline
        second = int(time.time())
        other = {"Authorization": "Bearer second"}
        statuses = [rig.set({}), rig.read(), rig.client.get("/me"), rig.client.get("/me", headers=other)]
        if int(time.time()) == second and statuses[0].status_code == 200:
            break
    assert [response.status_code for response in statuses] == [200, 200, 200, 200]


def test_every_answer_has_one_date_and_a_fault_may_set_it(rig: Rig) -> None:
    assert len(rig.client.get("/me").headers.get_list("date")) == 1
    said = "Fri, 01 Jan 2021 00:00:00 GMT"
    for how in ({"status": 200}, {"status": 503, "drip": 100_000}):
        rig.sandbox.set_faults([{**how, "headers": {"Date": said}}])
        assert rig.client.get("/me").headers.get_list("date") == [said]
    rig.sandbox.set_faults([{"drip": 100_000}])
    assert rig.client.get("/me").headers.get_list("date") != []
