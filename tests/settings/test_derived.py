"""Values that follow from several settings."""

from __future__ import annotations

import json

import pytest

from worker.settings.derived import gather_seconds, held_seconds, member_properties
from worker.settings.load import load
from worker.settings.model import Settings

MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://127.0.0.1:1",
    "WORKER_ATTENTIVE__TOKEN": "tk",
}


def settings(window_seconds: float, **properties: str) -> Settings:
    given = {"WORKER_WINDOW__SECONDS": str(window_seconds), "WORKER_KAFKA__PROPERTIES": json.dumps(properties)}
    return load(None, {}, MINIMAL | given).settings


@pytest.mark.parametrize(("window_seconds", "milliseconds"), [(1.0, 10), (5.0, 50), (3_600.0, 50)])
def test_records_gather_for_a_small_part_of_the_window(window_seconds: float, milliseconds: int) -> None:
    made = settings(window_seconds)
    assert gather_seconds(made) == pytest.approx(milliseconds / 1000)
    assert ("fetch.min.bytes" in member_properties(made)) == (milliseconds == 50), "at the brokers, if long enough"
    assert int(member_properties(made)["fetch.wait.max.ms"]) >= 20, "an idle worker fetches no more often"


def test_what_gathers_is_part_of_the_window() -> None:
    """Records gather before a turn takes them, and so do the calls that become due: each change waits twice."""
    assert held_seconds(settings(5.0)) == pytest.approx(4.9)
    assert held_seconds(settings(0.0)) == 0.0


@pytest.mark.parametrize("window_seconds", [0.0, 0.1, 3.9])
def test_with_a_short_window_or_none_fetches_are_answered_at_once(window_seconds: float) -> None:
    made = member_properties(settings(window_seconds))
    assert "fetch.min.bytes" not in made
    assert int(made["fetch.wait.max.ms"]) < 500, "a partition that comes a moment later waits for as long"


@pytest.mark.parametrize("name", ["fetch.wait.max.ms", "fetch.min.bytes"])
def test_what_users_set_of_fetches_stays_as_they_set_it(name: str) -> None:
    """The two belong together, so neither is chosen for them."""
    made = member_properties(settings(5.0, **{name: "300"}))
    assert {key: made[key] for key in ("fetch.wait.max.ms", "fetch.min.bytes") if key in made} == {name: "300"}
