"""What `check` says of the newest records: it rehearses with them, and shows nothing that identifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.checking import findings, run
from tests.support.avro import body, framed
from tests.support.brokers import RunningBroker
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, produce
from worker.sandbox.server import Sandbox

CUSTOMER = {
    "type": "record",
    "name": "Customer",
    "fields": [
        {"name": "firstName", "type": "string"},
        {"name": "mobile", "type": {"type": "array", "items": "string"}},
        {"name": "loyaltyTier", "type": "string"},
    ],
}
PHONE, VALUE = "+13115550100", "planted-value"


def of_records(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["level"], one["what"]) for one in found if one["check"] == "records"]


@pytest.mark.slow
def test_without_a_broker_it_says_what_to_mend_first(no_kafka: dict[str, str]) -> None:
    [(level, what)] = of_records(findings(no_kafka, 1))
    assert level == "fail"
    assert what.startswith("not read:")


@pytest.mark.kafka
def test_an_empty_topic_and_no_records_are_well(sound: dict[str, str]) -> None:
    [(level, what)] = of_records(findings(sound, 0))
    assert (level, "none to rehearse with" in what) == ("ok", True)
    done = run(sound, "--records", "0")
    assert done.returncode == 0
    assert "--records 0" in done.stdout


@pytest.mark.kafka
def test_it_shows_what_the_newest_become_and_counts_the_rest(
    sound: dict[str, str], real_kafka: RunningBroker, sandbox: Sandbox
) -> None:
    """Only the newest: the old records, which nobody could read, are many more. No call, and no group."""
    topic = sound["WORKER_KAFKA__TOPICS"]
    producer = ordered_producer(real_kafka.bootstrap_servers)
    for partition in range(3):
        for _ in range(50):
            producer.produce(topic, b"not Avro", partition=partition)
    assert producer.flush(30) == 0
    attributes = {"tier": VALUE, "vip": True, "ssn": VALUE}
    produce(real_kafka.bootstrap_servers, topic, [Change(PHONE, attributes, n) for n in range(30)])
    done = run(sound | {"WORKER_ATTRIBUTES__ALLOW": "tier,ssn,Vip"}, "--json", "--records", "15")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = of_records(lines)
    assert any("5 to send" in what and "10 undecodable" in what for _, what in told), told
    assert len([what for _, what in told if "(example " in what]) == 5
    assert any("phone ********: tier (text)" in what for _, what in told)
    assert any("not in WORKER_ATTRIBUTES__ALLOW" in what and "vip (5)" in what for _, what in told)
    beside = "5 dead letters beside what is sent, sensitive_data; the latest is"
    assert [what for level, what in told if level == "warn" and beside in what]
    assert [what for level, what in told if level == "warn" and "Vip in WORKER_ATTRIBUTES__ALLOW" in what]
    assert done.returncode == 1  # most fail
    [mend] = [line["mend"] for line in lines if line["check"] == "records" and line["level"] == "fail"]
    assert mend.startswith("set WORKER_SCHEMAS__FRAMING")
    for planted in (PHONE, VALUE):
        assert planted not in done.stdout + done.stderr
    groups = [one.group_id for one in real_kafka.admin.list_consumer_groups().result(10).valid]
    assert sound["WORKER_KAFKA__GROUP_ID"] not in groups
    assert sandbox.users() == []


@pytest.mark.kafka
def test_a_mapping_that_fits_the_schema_and_no_record_fails(
    sound: dict[str, str], real_kafka: RunningBroker, tmp_path: Path
) -> None:
    schemas = tmp_path / "customers"
    schemas.mkdir()
    (schemas / "8.avsc").write_text(json.dumps(CUSTOMER))
    datum = {"firstName": VALUE, "mobile": [PHONE], "loyaltyTier": "gold"}
    producer = ordered_producer(real_kafka.bootstrap_servers)
    for _ in range(20):
        producer.produce(sound["WORKER_KAFKA__TOPICS"], framed(8, body(CUSTOMER, datum)))
    assert producer.flush(30) == 0
    settings = sound | {
        "WORKER_SCHEMAS__DIRECTORY": str(schemas),
        "WORKER_MAPPING__PHONE": "mobile",
        "WORKER_MAPPING__EMAIL": "",
        "WORKER_MAPPING__CLIENT_USER_ID": "",
        "WORKER_MAPPING__CUSTOM_IDENTIFIERS": "",
        "WORKER_MAPPING__ATTRIBUTES": "*",
        "WORKER_MAPPING__OCCURRED_AT": "",
        "WORKER_MAPPING__EVENT_ID": "",
    }
    skipping = run(settings | {"WORKER_MAPPING__IGNORE_WHEN": "loyaltyTier=gold"})
    [line] = [line for line in skipping.stdout.splitlines() if line.startswith("warn  records")]
    assert "20 skipped by the mapping's rules; check WORKER_MAPPING__TYPES" in line
    done = run(settings)
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if line.startswith("fail  records")]
    assert "20 invalid_identity" in line
    assert PHONE not in done.stdout + done.stderr
