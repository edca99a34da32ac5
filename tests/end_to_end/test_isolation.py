"""What a refused attribute costs: few calls, fewer with a hint, and two per user once the attribute is known."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import SandboxCommand, until
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# Twenty attributes of which one has a value that is not in its enumeration.
GOOD: dict[str, object] = {f"attribute_{number}": f"value {number}" for number in range(19)}
SEARCH_CALLS_MAX = 2 * math.log2(20) + 2


def _sandbox(lab: Lab, tmp_path: Path, *options: str) -> SandboxCommand:
    enumerations = tmp_path / "enumerations.json"
    enumerations.write_text(json.dumps({"tier": ["Gold", "Silver"]}))
    return lab.sandbox("--record", "--limit", "0", "--enumerations", str(enumerations), *options)


def _calls(sandbox: SandboxCommand) -> Counter[str]:
    """Requests by user."""
    return Counter(str(request["user"]["phone"]) for request in sandbox.upserts())


@pytest.mark.parametrize("position", [0, 19])
@pytest.mark.parametrize("errors", ["named", "vague"])
def test_one_bad_attribute_among_twenty_costs_few_calls(lab: Lab, tmp_path: Path, errors: str, position: int) -> None:
    """At most 3 calls if the error names it, else at most 2·log2(20)+2. All others are delivered."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = _sandbox(lab, tmp_path, "--errors", errors)
    names = list(GOOD)
    names.insert(position, "tier")
    lab.produce([Change(phone(1), {name: GOOD.get(name, "Platinum") for name in names}, 1)])
    lab.worker(sandbox.base_url)
    lab.until_committed(60)
    assert final_state(sandbox) == {phone(1): GOOD}
    [letter] = lab.dead_letters()
    assert [(lost["name"], lost["value"]) for lost in letter["attributes"]] == [("tier", "Platinum")]  # type: ignore[attr-defined]  # a list of dicts
    assert _calls(sandbox)[phone(1)] <= (3 if errors == "named" else SEARCH_CALLS_MAX)


def test_a_refused_identifier_costs_three_calls(lab: Lab, tmp_path: Path) -> None:
    """Every call for one user is refused, but others' equal values are accepted: 3 calls, then all is dead-lettered."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = _sandbox(lab, tmp_path, "--errors", "vague")
    sandbox.faults(
        [{"match": {"user": phone(1)}, "status": 400, "body": {"error": {"id": 1, "message": "Bad Request"}}}]
    )
    worker = lab.worker(sandbox.base_url)
    lab.produce([Change(phone(2), GOOD, 1)])
    until(lambda: worker.status()["totals"]["delivered_entries"], 60, "a good user's delivery")
    lab.produce([Change(phone(1), GOOD, 2)])
    lab.until_committed(60)
    letters = lab.dead_letters()
    assert {letter["reason"] for letter in letters} == {"rejected"}
    assert sorted(lost["name"] for letter in letters for lost in letter["attributes"]) == sorted(GOOD)  # type: ignore[attr-defined]  # a list of dicts
    assert _calls(sandbox)[phone(1)] <= 3


def test_an_error_about_an_address_costs_only_the_attributes_that_are_none(lab: Lab, tmp_path: Path) -> None:
    """The error names neither, and could as well be about the address that names the user."""
    lab.broker.create_topic(lab.topic, 1)
    sandbox = _sandbox(lab, tmp_path)
    refusal = {"status": 400, "body": {"error": {"id": 1, "message": "Value is not a valid email address"}}}
    bad = {"backup_contact": "none", "work_contact": "none"}
    sandbox.faults([{"match": {"attribute": name}, **refusal} for name in bad])
    good: dict[str, object] = {"tier": "Gold", "points": 7, "store": "North"}
    lab.produce([Change(phone(1), {**bad, **good}, 1)])
    lab.worker(sandbox.base_url)
    lab.until_committed(60)
    assert final_state(sandbox) == {phone(1): good}
    letters = lab.dead_letters()
    assert sorted(lost["name"] for letter in letters for lost in letter["attributes"]) == sorted(bad)  # type: ignore[attr-defined]  # a list of dicts


def test_a_value_that_is_refused_for_many_users_is_searched_once(lab: Lab, tmp_path: Path) -> None:
    """The same enumeration value is refused for 1,000 users: about 2 calls for each, not a search for each."""
    users = 1_000
    lab.broker.create_topic(lab.topic, 1)
    sandbox = _sandbox(lab, tmp_path, "--errors", "vague")
    lab.worker(sandbox.base_url, {"WORKER_ATTENTIVE__REQUESTS_PER_SECOND": "1000"})
    lab.produce(Change(phone(user), {**GOOD, "tier": "Platinum"}, user) for user in range(users))
    lab.until_committed(120)
    assert final_state(sandbox) == {phone(user): GOOD for user in range(users)}
    assert len(lab.dead_letters()) == users
    assert sum(_calls(sandbox).values()) <= 2.3 * users
