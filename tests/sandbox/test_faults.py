"""Scripted faults: what they do on the wire, and how their description is checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from tests.sandbox.rig import PHONE, PLAIN, Rig, in_background
from worker.sandbox.faults import Fault, FaultError, FaultPlan, Match, Subject, read_faults
from worker.sandbox.service import Settings


def test_an_error_status_is_answered_as_often_as_the_fault_says_and_nothing_is_applied(rig: Rig) -> None:
    fault = {"status": 503, "headers": {"Retry-After": 2}, "body": {"error": "down"}, "times": 2}
    assert rig.control("POST", "faults", [fault]).json() == {"faults": 1}
    for _ in range(2):
        response = rig.set({"a": 1})
        assert (response.status_code, response.json()) == (503, {"error": "down"})
        assert response.headers["retry-after"] == "2"
        assert response.headers["content-type"] == "application/json"
    assert rig.sandbox.users() == []
    assert rig.set({"a": 1}).status_code == 200
    assert rig.control("GET", "faults").json() == [{"used": 2, "left": 0}]


@pytest.mark.parametrize(
    ("fault", "status", "applied"),
    [
        ({"status": 202}, 202, True),
        ({"status": 204}, 204, True),
        ({"status": 200, "apply": False}, 200, False),
        ({"status": 500, "apply": True}, 500, True),
        ({"status": 307, "headers": {"Location": "https://example.com/"}}, 307, False),
        ({"status": 401}, 401, False),
    ],
)
def test_a_2xx_is_applied_and_another_status_is_not_unless_told(
    rig: Rig, fault: dict[str, object], status: int, *, applied: bool
) -> None:
    rig.sandbox.set_faults([fault])
    assert rig.set({"a": 1}).status_code == status
    assert (rig.sandbox.stats()["upserts"] == 1) is applied
    assert rig.sandbox.requests()[0]["applied"] is applied


def test_a_bad_request_is_refused_even_if_a_2xx_is_scripted(rig: Rig) -> None:
    rig.sandbox.set_faults([{"status": 202}])
    assert rig.set({"a": None}).status_code == 400


@pytest.mark.parametrize(("drop", "applied"), [(True, False), ("before", False), ("after", True)])
def test_a_dropped_request_gets_no_answer_and_is_applied_only_if_it_is_dropped_after(
    rig: Rig, drop: object, *, applied: bool
) -> None:
    rig.sandbox.set_faults([{"drop": drop, "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError):
        rig.set({"a": 1})
    assert (rig.sandbox.stats()["upserts"] == 1) is applied
    assert rig.set({"a": 2}).status_code == 200
    assert rig.sandbox.stats()["by_status"] == {"200": 1, "none": 1}


def test_a_delayed_answer_comes_late(rig: Rig) -> None:
    rig.sandbox.set_faults([{"delay": 0.2, "times": 1}])
    start = time.monotonic()
    assert rig.set({"a": 1}).status_code == 200
    assert time.monotonic() - start >= 0.2
    (request,) = rig.sandbox.requests()
    assert request["answered_at"] - request["received_at"] >= 0.19


def test_a_client_that_leaves_during_a_delay_ends_its_request(rig: Rig) -> None:
    rig.sandbox.set_faults([{"delay": 3600}])
    with pytest.raises(httpx.ReadTimeout):
        rig.client.get("/me", timeout=0.05)
    rig.await_stat("in_flight", 0)
    assert rig.sandbox.stats()["by_status"] == {"none": 1}


def test_a_dripped_answer_arrives_slowly_and_completely(rig: Rig) -> None:
    rig.sandbox.set_faults([{"drip": 1000, "status": 503, "body": "x" * 100}])
    start = time.monotonic()
    response = rig.set({"a": 1})
    assert (response.status_code, response.text) == (503, "x" * 100)
    assert response.headers["connection"] == "close"
    assert time.monotonic() - start >= 0.1
    assert rig.sandbox.stats()["by_status"] == {"503": 1}


def test_a_stop_does_not_wait_for_a_delay_whose_change_was_applied_at_once(
    serve: Callable[[Settings], Rig],
) -> None:
    rig = serve(PLAIN)
    rig.sandbox.set_faults([{"delay": 3600}])
    call = in_background(lambda: rig.set({"a": 1}))
    rig.await_stat("upserts", 1)
    start = time.monotonic()
    rig.sandbox.stop()
    call.join()
    assert time.monotonic() - start < 5
    assert rig.sandbox.stats()["by_status"] == {"none": 1}


def test_a_reset_restores_the_faults_of_the_start_and_forgets_all_else(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, faults=(Fault(Match(), status=500, apply=False, times=1),)))
    assert [rig.set({"a": 1}).status_code for _ in range(2)] == [500, 200]
    rig.sandbox.set_tokens(["other"])
    assert rig.control("POST", "reset").status_code == 200
    assert rig.sandbox.users() == []
    assert rig.sandbox.stats()["requests"] == 0
    assert [rig.set({"a": "text"}).status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(
    ("match", "met"),
    [
        ({}, ["post", "get", "me"]),
        ({"method": "post"}, ["post"]),
        ({"path": "/v1/me"}, ["me"]),
        ({"user": PHONE}, ["post", "get"]),
        ({"user": "c7"}, ["post"]),
        ({"user": "other"}, []),
        ({"attribute": "a", "method": "POST"}, ["post"]),
        ({"attribute": "b"}, []),
    ],
)
def test_a_fault_meets_only_requests_that_fit_its_whole_match(
    rig: Rig, match: dict[str, object], met: list[str]
) -> None:
    rig.sandbox.set_faults([{"match": match, "status": 503}])
    custom = {"customIdentifiers": [{"name": "crm", "value": "c7"}]}
    responses = {
        "post": rig.set({"a": 1}, phone=PHONE, externalIdentifiers=custom),
        "get": rig.read(),
        "me": rig.client.get("/me"),
    }
    assert [name for name, response in responses.items() if response.status_code == 503] == met


def times_met(document: dict[str, object], moments: list[float]) -> list[float]:
    plan = FaultPlan(read_faults([document]), now=1000.0)
    subject = Subject("POST", "/v1/attributes/custom")
    return [moment for moment in moments if plan.choose(subject, 1000.0 + moment) is not None]


def test_a_fault_may_be_limited_in_count_and_in_time() -> None:
    moments = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert times_met({"status": 503}, moments) == moments
    assert times_met({"status": 503, "times": 2}, moments) == [0.0, 1.0]
    assert times_met({"status": 503, "seconds": 2}, moments) == [0.0, 1.0]
    assert times_met({"status": 503, "after": 1, "seconds": 2}, moments) == [1.0, 2.0]
    assert times_met({"status": 503, "match": {"every": 3}}, moments) == [2.0, 5.0]
    assert times_met({"status": 503, "match": {"every": 2}, "times": 2}, moments) == [1.0, 3.0]


def test_a_probability_meets_the_same_requests_for_the_same_seed() -> None:
    moments = [float(second) for second in range(1000)]
    documents = [{"status": 503, "match": {"probability": 0.3, "seed": seed}} for seed in (1, 1, 2)]
    first, again, other = (times_met(document, moments) for document in documents)
    assert first == again != other
    assert 200 < len(first) < 400


def test_of_several_faults_the_first_that_fits_counts() -> None:
    plan = FaultPlan(read_faults([{"status": 500, "times": 1}, {"status": 503}]), now=0.0)
    chosen = [plan.choose(Subject("GET", "/v1/me"), 0.0) for _ in range(2)]
    assert [fault and fault.status for fault in chosen] == [500, 503]
    assert plan.counts() == [{"used": 1, "left": 0}, {"used": 1, "left": None}]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "faults must be a list"),
        ([{"status": 503}, 7], "fault 2: must be a mapping"),
        ([{}], "fault 1: needs one of status, delay, drop, drip"),
        ([{"statsu": 503}], "fault 1: unknown key 'statsu'; did you mean 'status'?"),
        ([{"status": 503, "match": {"atribute": "x"}}], "fault 1, match: unknown key 'atribute'"),
        ([{"status": 503, "match": {"user": 13115552368}}], "fault 1, match: 'user' must be a string"),
        ([{"status": 503, "match": {"probability": 2}}], "'probability' must be from 0 to 1"),
        ([{"status": 503, "match": {"every": 0}}], "'every' must be a whole number"),
        ([{"status": 99}], "'status' must be a status"),
        ([{"status": True}], "'status' must be a status"),
        ([{"status": 503.5}], "'status' must be a status"),
        ([{"delay": -1}], "'delay' must be seconds"),
        ([{"delay": float("nan")}], "'delay' must be seconds"),
        ([{"drip": 0}], "'drip' must be bytes per second"),
        ([{"drop": "maybe"}], "'drop' must be true, before or after"),
        ([{"drop": True, "status": 503}], "drop answers nothing"),
        ([{"delay": 1, "body": "x"}], "body and headers need a status"),
        ([{"delay": 1, "apply": False}], "'apply' needs a status"),
        ([{"status": 503, "apply": "no"}], "'apply' must be true or false"),
        ([{"status": 204, "body": "x"}], "204 has no body"),
        ([{"status": 503, "headers": ["a"]}], "'headers' must be a mapping"),
        ([{"status": 503, "headers": {"a": "b\r\nc: d"}}], "printable ASCII"),
        ([{"status": 503, "headers": {"a b": "c"}}], "printable ASCII"),
        ([{"status": 503, "headers": {"Content-Length": 7}}], "may not have content-length"),
        ([{"status": 503, "times": 1.5}], "'times' must be a whole number"),
    ],
)
def test_a_fault_that_cannot_be_understood_is_named(document: object, problem: str) -> None:
    with pytest.raises(FaultError) as error:
        read_faults(document)
    assert problem in str(error.value)


def test_faults_that_cannot_be_understood_leave_the_present_ones_in_force(rig: Rig) -> None:
    rig.sandbox.set_faults([{"status": 503}])
    response = rig.control("POST", "faults", [{"statsu": 500}])
    assert response.status_code == 400
    assert "fault 1" in response.json()["error"]
    assert rig.client.post(f"{rig.sandbox.origin}/_sandbox/faults", content=b"{").status_code == 400
    assert rig.set({"a": 1}).status_code == 503
