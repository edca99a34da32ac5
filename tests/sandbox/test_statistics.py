"""What the sandbox counts and records: other tests rely on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.sandbox.rig import PHONE, PLAIN, Rig, in_background
from worker.sandbox.meter import EXCHANGES_KEPT, SECONDS_KEPT, Meter
from worker.sandbox.service import Settings


def test_the_statistics_count_requests_and_answers(rig: Rig) -> None:
    began = time.time()
    rig.set({"a": 1, "b": 2})
    rig.set({"a": "x"}, email="ann@example.com")
    rig.client.get("/me")
    stats = rig.control("GET", "stats").json()
    assert stats == rig.sandbox.stats()
    assert abs(stats.pop("started_at") - began) < 5
    assert sum(requests for _, requests, _ in stats.pop("per_second")) == 3
    assert stats == {
        "requests": 3,
        "by_status": {"200": 2, "400": 1},
        "in_flight": 0,
        "max_in_flight": 1,
        "overlaps": 0,
        "throttled": 0,
        "upserts": 1,
        "users": 1,
        "attributes": 2,
    }


def test_two_requests_of_one_user_at_once_are_an_overlap(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(PLAIN)
    rig.sandbox.set_faults([{"delay": 3600}])
    calls = [
        in_background(lambda: rig.set({"a": 1}, phone=PHONE)),
        in_background(lambda: rig.set({"a": 1}, phone=PHONE, email="ann@example.com")),
        in_background(lambda: rig.set({"a": 1}, email="bob@example.com")),
    ]
    rig.await_stat("in_flight", 3)
    rig.await_stat("upserts", 3)
    stats = rig.sandbox.stats()
    assert (stats["overlaps"], stats["max_in_flight"]) == (1, 3)
    rig.sandbox.stop()
    for call in calls:
        call.join()


def test_requests_of_one_user_one_after_another_are_no_overlap(rig: Rig) -> None:
    for number in range(50):
        rig.set({"a": number})
    assert rig.sandbox.stats()["overlaps"] == 0


def test_a_recorded_request_has_its_user_its_properties_and_its_times(rig: Rig) -> None:
    rig.set({"a": 1})
    rig.raw(f'{{"user": {{"phone": "{PHONE}"}}, "properties": {{"b": 1.50}}}}'.encode())
    rig.set({"a": None})
    text = rig.control("GET", "requests?since=1").text
    assert '"properties": {"b": 1.50}' in text
    second, third = (json.loads(line) for line in text.splitlines())
    assert second["received_at"] <= second["answered_at"] <= third["received_at"]
    assert (second["number"], second["status"], second["applied"]) == (2, 200, True)
    assert second["user"] == {"phone": PHONE}
    assert (third["status"], third["applied"], third["user"], third["properties"]) == (400, False, None, None)
    assert [request["number"] for request in rig.sandbox.requests()] == [1, 2, 3]
    assert rig.control("GET", "requests?since=x").status_code == 400


def test_nothing_is_recorded_unless_asked_for(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(replace(PLAIN, record=False))
    rig.set({"a": 1})
    assert rig.control("GET", "requests").status_code == 409
    assert rig.sandbox.requests() == []


def test_the_state_can_still_be_read_after_a_stop(serve: Callable[[Settings], Rig]) -> None:
    rig = serve(PLAIN)
    rig.set({"a": 1})
    rig.sandbox.stop()
    assert rig.sandbox.users() == [{"user": {"phone": PHONE}, "attributes": {"a": 1}}]
    assert rig.sandbox.stats()["upserts"] == 1


@pytest.mark.slow
def test_the_records_and_the_counts_by_second_are_bounded() -> None:
    meter = Meter(record=True)
    for number in range(EXCHANGES_KEPT + 10):
        exchange = meter.received("GET", "/v1/me", 0.0)
        meter.read(float(number // 40))
        meter.ended(exchange, 200, 0.0)
    assert sum(1 for _ in meter.lines(0)) == EXCHANGES_KEPT
    assert len(meter.stats()["per_second"]) == SECONDS_KEPT  # type: ignore[arg-type] # the counts are of several types


def test_a_request_in_flight_at_a_reset_is_counted_until_it_ends() -> None:
    meter = Meter(record=False)
    exchange = meter.received("GET", "/v1/me", 1.0)
    meter.reset(2.0)
    assert meter.stats()["in_flight"] == 1
    meter.read(2.5)
    meter.ended(exchange, 200, 3.0)
    assert meter.stats()["in_flight"] == 0
