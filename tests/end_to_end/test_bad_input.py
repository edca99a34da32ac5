"""Bad records of every kind among good traffic: each becomes the right dead letter, and nothing else is lost."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastavro import parse_schema, schemaless_writer

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import WorkerCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID, STARTED_MS, Change, changes, fold, phone
from worker.ops.letters import LATEST_MAX

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 11
MISSING, TEAPOT, POISON, REJECTED = (phone(9_000_000 + number) for number in range(4))
GOOD = {"loyalty_points": 1}


def _event(**overrides: object) -> bytes:
    event: dict[str, object] = {
        "event_id": "bad",
        "user": {"phone": phone(5_000_000)},
        "attributes": GOOD,
        "occurred_at": STARTED_MS,
        **overrides,
    }
    body = io.BytesIO(b"\0" + SCHEMA_ID.to_bytes(4, "big"))
    body.seek(0, io.SEEK_END)
    schemaless_writer(body, parse_schema(PROFILE_CHANGED), event)
    return body.getvalue()


# name -> (the record's value, the reason of its letter)
BAD: dict[str, tuple[bytes, str]] = {
    "not framed": (b'{"json": true}', "undecodable"),
    "no bytes": (b"", "undecodable"),
    "no such schema": (b"\0\0\0\0\x63" + _event()[5:], "undecodable"),
    "cut short": (_event()[:-3], "undecodable"),
    "too long": (_event() + b"\0", "undecodable"),
    "nobody": (_event(user={}), "no_identity"),
    "no phone": (_event(user={"phone": "555-0100"}), "invalid_identity"),
    "no email": (_event(user={"email": "nobody"}), "invalid_identity"),
    "long identifier": (_event(user={"client_user_id": "x" * 101}), "invalid_identity"),
    "empty name": (_event(attributes={"": 1}), "invalid_attribute_name"),
    "long name": (_event(attributes={"n" * 201: 1}), "invalid_attribute_name"),
    "not a number": (_event(attributes={"score": float("nan")}), "unsupported_value"),
    "infinite": (_event(attributes={"score": float("-inf")}), "unsupported_value"),
    "sensitive": (_event(attributes={"ssn": "078-05-1120"}), "sensitive_data"),
    "unknown user": (_event(user={"phone": MISSING}), "not_found"),
    "odd status": (_event(user={"phone": TEAPOT}), "unexpected_status"),
    "always 500": (_event(user={"phone": POISON}), "server_error"),
    "not in the list": (_event(user={"phone": REJECTED}, attributes={**GOOD, "tier": "Platinum"}), "rejected"),
}


def test_every_kind_of_bad_input_is_one_dead_letter(lab: Lab, tmp_path: Path) -> None:
    """Bad records among 2,000 good changes: each becomes one letter with its source; the rest is delivered."""
    enumerations = tmp_path / "enumerations.json"
    enumerations.write_text(json.dumps({"tier": ["Gold", "Silver"]}))
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox("--enumerations", str(enumerations))
    sandbox.faults(
        [
            {"match": {"user": MISSING}, "status": 404, "body": {"error": {"id": 1, "message": "no such user"}}},
            {"match": {"user": TEAPOT}, "status": 418},
            {"match": {"user": POISON}, "status": 500},
        ]
    )
    worker = lab.worker(
        sandbox.base_url,
        {"WORKER_ATTENTIVE__SERVER_ERROR_SECONDS": "3", "WORKER_ATTENTIVE__RETRY_MAX_SECONDS": "1"},
    )
    made = list(changes(SEED, events=2_000, users=200))
    lab.produce(made[:1_000])
    until(lambda: sandbox.stats()["upserts"], 40, "the first delivery")
    _produce_bad(lab)
    until(lambda: sandbox.stats()["by_status"].get("500"), 40, "the first failure of the user who always fails")
    for number in range(5):  # successes of others prove that the user who always fails is no outage
        lab.produce(made[1_000 + number * 200 : 1_200 + number * 200])
        calls = sandbox.stats()["upserts"]
        until(lambda seen=calls: sandbox.stats()["upserts"] > seen + 20, 40, "others' deliveries")  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    lab.until_committed(90)
    letters = lab.dead_letters()
    assert Counter(letter["reason"] for letter in letters) == Counter(reason for _, reason in BAD.values())
    assert {letter["record_key"]: letter["reason"] for letter in letters} == {
        str(name.encode()): reason for name, (_, reason) in BAD.items()
    }
    for letter in letters:
        _assert_well_formed(lab, letter)
    _assert_the_good_arrived(final_state(sandbox), made)
    assert worker.status()["totals"]["dead_letters"] == dict(Counter(reason for _, reason in BAD.values()))
    assert "078-05-1120" not in json.dumps(letters) + worker.log.read_text()
    _assert_the_page_tells_of(letters, worker)
    assert worker.stop() == 0


def _assert_the_good_arrived(state: dict[str, dict[str, object]], made: list[Change]) -> None:
    """The good changes arrived completely, and the refused user's good attribute too."""
    assert state.pop(REJECTED) == GOOD
    assert state == fold(made)


def _assert_the_page_tells_of(letters: list[dict[str, Any]], worker: WorkerCommand) -> None:
    """Of the latest letters, the calls and the settings; of no identifier and no value."""
    status, page = worker.status(), httpx.get(worker.url).text
    told = {
        (each["reason"], each["topic"], each["partition"], each["offset"]) for each in status["latest_dead_letters"]
    }
    assert len(told) == LATEST_MAX
    sources = [(letter["reason"], letter["sources"][0]) for letter in letters]
    assert told <= {(reason, of["topic"], of["partition"], of["offset"]) for reason, of in sources}
    assert all(f"{topic}-{partition}@{offset}" in page for _, topic, partition, offset in told)
    assert sum(status["calls_ended"].values()) == status["totals"]["calls"]
    assert status["settings"]["attentive.base_url"].startswith(status["destination"])
    assert "Running, but some changes are refused." in page
    for secret in (*(phone(9_000_000 + number) for number in range(4)), "555-0100", "Platinum", "078-05-1120"):
        assert secret not in page + json.dumps(status)


def _produce_bad(lab: Lab) -> None:
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for name, (value, _) in BAD.items():
        producer.produce(lab.topic, value, name.encode(), headers={"traceparent": b"00-aa-bb-01"})
    producer.produce(lab.topic, None, b"a tombstone")
    assert producer.flush(30) == 0


def _assert_well_formed(lab: Lab, letter: dict[str, Any]) -> None:
    [source] = letter["sources"]
    assert source["topic"] == lab.topic
    headers = letter["headers"]
    assert headers["reason"] == str(letter["reason"].encode())
    assert headers["source.offset"] == str(str(source["offset"]).encode())
    assert headers["traceparent"] == str(b"00-aa-bb-01")
    undecodable = letter["reason"] == "undecodable"
    assert (letter["value"] is not None) == undecodable
    assert bool(letter["attributes"]) != undecodable
    if letter["reason"] in {"rejected", "not_found", "unexpected_status", "server_error"}:
        assert letter["response"]["status"] in {400, 404, 418, 500}
        assert letter["attempts"] >= 1
    if letter["reason"] == "rejected":
        assert [(of["name"], of["value"]) for of in letter["attributes"]] == [("tier", "Platinum")]
    if letter["reason"] == "sensitive_data":
        assert [(of["name"], of["value"]) for of in letter["attributes"]] == [("ssn", None)]
